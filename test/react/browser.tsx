/** @jsxImportSource react */
import { StrictMode } from 'react'
import { hydrateRoot } from 'react-dom/client'
import { App } from './app.tsx'

const root = document.getElementById('app') as HTMLElement
hydrateRoot(
  root,
  <StrictMode>
    <App />
  </StrictMode>,
  { onRecoverableError: (error) => console.error('not hydrated', error) },
)
