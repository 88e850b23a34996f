/** The bundler hands a WebAssembly file over as a compiled module: workerd compiles none at run time. */
declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}

/** As much of the platform's module as is used. It exists in workerd only. */
declare module 'cloudflare:workers' {
  export abstract class DurableObject<Bindings> {
    protected readonly ctx: { abort(reason?: string): void }
    protected readonly env: Bindings
    constructor(ctx: unknown, env: Bindings)
  }
}
