/**
 * The Clarity versions that a committed router is written in. Version 3 has `as-contract`, which later ones replace by
 * `as-contract?`. A deployment names its version: without one, a node takes the newest that its epoch has.
 */
export type RouterClarityVersion = 3 | 6

/** A contract that is ready to deploy. */
export interface ContractSource {
  /** The contract's name: its id is `<deployer>.<name>`. */
  readonly name: string
  readonly source: string
  readonly clarityVersion: RouterClarityVersion
}

/** The codes with which a committed router refuses, and what each says. The tokens and the verifier add their own. */
export const COMMITTED_ROUTER_ERRORS = {
  400101: 'the uuid is not that of the terms',
  400102: 'the recipient is the router or its account',
  401101: 'another owner signed the intent',
  403101: 'the terms name another sender',
  403102: 'the input token is not allowed',
  403103: 'the caller is not the deployer',
  403104: 'the caller is not the router',
  404101: 'the verifier has not seen the uuid',
  409101: 'the order was executed',
  409102: 'the input was paid back before',
  410101: "the chain's time is past `until`",
  412101: 'the recipient gained less than `min`',
} as const satisfies Readonly<Record<number, string>>
