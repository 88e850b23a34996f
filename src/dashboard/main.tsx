import { render } from 'preact'
import { App } from './app.tsx'
import { chooseLanguage } from './language.ts'
import { applyTheme } from './theme.ts'

applyTheme()
const root = document.getElementById('app')
if (root !== null) {
  await chooseLanguage()
  root.replaceChildren()
  render(<App />, root)
}
