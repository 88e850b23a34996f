/** English, as far as a visitor without a wallet needs it. `one | other` has a form for each number. */
export const en = {
  skip: 'Skip to the content',
  nav: 'Main',
  'nav.keys': 'Keys',
  'nav.orders': 'Orders',
  'nav.audit': 'Audit',
  docs: 'API docs',
  language: 'Language',
  theme: 'Theme',
  'theme.system': 'System theme',
  'theme.light': 'Light',
  'theme.dark': 'Dark',
  loading: 'Loading',
  close: 'Close',
  retry: 'Try again',
  retryIn: 'Tries again in {time}',
  waitFor: 'Possible again in {time}',
  waitOver: 'Possible again now',
  dismiss: 'Dismiss',
  details: 'Details',
  copy: 'Copy {what}',
  copied: 'Copied: {what}',
  'copy.failed': 'The browser did not allow copying',
  remove: 'Remove {what}',
  optional: 'optional',
  address: 'Wallet address',
  'hero.title': 'API keys that your wallet signs, limits and revokes',
  'hero.text':
    'Give a trading bot a key that can spend so much of one token, from one address, until one day. No password, no account: your Stacks wallet grants each key, and takes it back at once.',
  connect: 'Connect wallet',
  'connect.help':
    'One signature opens a read-only session for an hour. Each later change is a signature of its own.',
  'connect.choose': 'Choose a wallet',
  throwaway: 'Use a throw-away wallet',
  'throwaway.help':
    'This is a devnet: its tokens are worth nothing. A throw-away wallet is a private key in this tab, gone when you close it.',
  install: 'Install {name}',
  'point.grant': 'Granted by a signature',
  'point.grant.text':
    'Every change is one message that this page shows you before your wallet signs it. The service keeps the proof.',
  'point.limits': 'Narrow by design',
  'point.limits.text':
    'Amount a day, tokens, recipients, addresses, open orders, last day: a stolen key can do what you signed, and no more.',
  'point.revoke': 'Gone at once',
  'point.revoke.text':
    'A revoked key fails with its next request. One button revokes them all and cancels what is open.',
  'wallet.connected': 'Connected wallet',
  'wallet.throwaway': 'Throw-away wallet',
  'session.help': 'This page reads for an hour after one signature. It changes nothing by itself.',
  'session.over': 'ended',
  'session.again': 'Open a new session',
  disconnect: 'Disconnect',
  funds: 'Wallet and funds',
  'status.active': 'Live',
  'status.suspended': 'Suspended',
  'status.revoked': 'Revoked',
  'status.expired': 'Expired',
  'limit.perDay': 'A day',
  'limit.from': 'From',
  panic: 'Panic',
  'fault.offline': 'The service cannot be reached',
  'fault.offline.text': 'Check your connection. This page tries again when it is back.',
  'fault.cancelled': 'You cancelled',
  'fault.cancelled.text': 'Nothing was signed and nothing has changed.',
  'fault.noWallet': 'No wallet in this browser',
  'fault.noWallet.text':
    'Install a Stacks wallet and reload, or open this page in the browser of your wallet’s app.',
  'fault.wrongNetwork': 'The wallet is on another network',
  'fault.wrongNetwork.text':
    'Switch the wallet to the network that is shown beside the logo, and try again.',
  'fault.wrongAccount': 'Another account signed',
  'fault.wrongAccount.text':
    'Select the account that is connected here in your wallet, or disconnect and connect the other one.',
  'fault.clock': 'The clocks differ',
  'fault.clock.text': 'Set the clock of this device. A message is good for a few minutes only.',
  'fault.ended': 'Your session has ended',
  'fault.ended.text': 'What you see may be old. One signature opens a new session.',
  'fault.limited': 'Too many requests',
  'fault.limited.text': 'The service asks for a pause.',
  'fault.suspended': 'This wallet is suspended',
  'fault.suspended.text':
    'The operator suspended it. Keys can still be revoked. Ask the operator why.',
  'fault.tampered': 'The service’s data has been tampered with',
  'fault.tampered.text':
    'What the service says contradicts what your wallet signed. Do not trust what it shows of your keys. Save an export, revoke your keys, and ask the operator.',
  'fault.unavailable': 'The service is not ready',
  'fault.unavailable.text':
    'Its database or the chain does not answer. Nothing is lost. Try again shortly.',
  'fault.notExport': 'This is no export of an audit',
  'fault.notExport.text': 'Choose a file that this page or the command line saved.',
  'fault.otherExport': 'This export is of another wallet',
  'fault.otherExport.text':
    'Choose one that was saved for the wallet and network that are connected.',
  'fault.other': 'That did not work',
} as const satisfies Record<string, string>

/** The same names in every language. */
export type FirstTexts = Readonly<Record<keyof typeof en, string>>
