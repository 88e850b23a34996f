import { loadConnectedTexts } from './language.ts'

/** Everything that needs a wallet: loaded once one is connected, or is about to be. */
export async function loadConnected() {
  const [part] = await Promise.all([import('./connected.tsx'), loadConnectedTexts()])
  return part
}
