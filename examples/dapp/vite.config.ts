import { defineConfig } from 'vite'

/** Another origin than the service's. In a project of your own `npm install latchkey react` takes the place of this clone. */
export default defineConfig({
  root: import.meta.dirname,
  server: { host: '127.0.0.1', port: 5173 },
  build: { target: 'es2022', outDir: '../../build/dapp', emptyOutDir: true },
})
