import { createStore } from '../store/observable.ts'

/** The dialog that is open over the views, if one is. */
export const openDialog = createStore<'panic' | undefined>(undefined)

/** Whether a wallet is about to be connected: the dialogs' code is needed before there is a connection. */
export const isConnecting = createStore(false)
