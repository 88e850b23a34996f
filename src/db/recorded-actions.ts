import type { Action } from '../actions/action.ts'

/**
 * The actions that an audit records; every other one leaves keys and sessions as they are. An index of `signed_actions` has the
 * same list, and the SDK bundles this file.
 */
export const RECORDED_ACTIONS: readonly Action[] = [
  'create_api_key',
  'update_api_key',
  'rotate_api_key',
  'suspend_api_key',
  'resume_api_key',
  'delete_api_key',
  'revoke_api_key',
  'revoke_all_api_keys',
  'create_session',
  'create_webhook',
  'update_webhook',
  'rotate_webhook_secret',
  'delete_webhook',
]
