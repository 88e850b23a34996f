/** The bundler hands a WebAssembly file over as a compiled module: workerd compiles none at run time. */
declare module '*.wasm' {
  const module: WebAssembly.Module
  export default module
}
