import { toHex } from '../crypto/bytes.ts'
import type { OrderRow } from '../db/order-row.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type CommittedTerms, checkCommittedTerms, committedUuid } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import type { Router } from '../stacks/router.ts'
import type { NewOrder } from './order.ts'

/** What an order commits to beside recipient and output token, as its row has it; nulls where it commits to nothing. */
export interface Commitment {
  minAmountOut: string | null
  commitSalt: string | null
  /** Unix seconds. */
  commitUntil: number | null
  committedBy: string | null
}

/** The terms that an order's uuid commits to; undefined for an order that commits to nothing. */
export function committedTermsOf(row: OrderRow): CommittedTerms | undefined {
  const { recipient, outputToken, minAmountOut, commitSalt, commitUntil, committedBy } = row
  if (minAmountOut === null || commitSalt === null || commitUntil === null) return undefined
  return {
    by: committedBy,
    min: minAmountOut,
    salt: toHex(commitSalt),
    to: recipient,
    token: outputToken,
    until: commitUntil,
  }
}

export interface RouterOptions {
  network: Network
  routers: readonly Router[]
  /** Addresses that sign for this service. */
  operators: readonly string[]
}

/**
 * The router that an order's intent names, and what its uuid commits to. A router that commits takes no order whose uuid is
 * not the hash of its terms, and one that does not commit enforces none of them.
 */
export function routeOf(
  order: NewOrder,
  { network, routers, operators }: RouterOptions,
): Result<{ router: string; commitment: Commitment }, 'invalidRequest'> {
  const commits = order.salt !== undefined
  const { routerContract } = order
  const router =
    routerContract === undefined
      ? routers.find((one) => one.commits === commits)
      : routers.find(({ contract }) => contract === routerContract)
  if (router === undefined)
    return invalid('routerContract', 'must be a router of this service', { routers })
  if (router.commits !== commits)
    return invalid(
      commits ? 'salt' : 'routerContract',
      commits
        ? 'must be absent: this router does not commit to terms'
        : 'commits to terms: minAmountOut, salt and deadline are needed',
      { routers },
    )
  if (!commits) return ok({ router: router.contract, commitment: NO_COMMITMENT })
  return checkCommitment(order, router.contract, network, operators)
}

const NO_COMMITMENT: Commitment = {
  minAmountOut: null,
  commitSalt: null,
  commitUntil: null,
  committedBy: null,
}

function checkCommitment(
  order: NewOrder,
  router: string,
  network: Network,
  operators: readonly string[],
): Result<{ router: string; commitment: Commitment }, 'invalidRequest'> {
  const { owner, outputToken, uuid, salt = '', minAmountOut = '', deadline = '', executor } = order
  const terms = checkCommittedTerms(
    {
      by: executor ?? null,
      min: minAmountOut,
      salt,
      to: order.recipient ?? owner,
      token: outputToken,
      until: Date.parse(deadline) / 1000,
    },
    network,
  )
  if (!terms.ok) return invalid(TERM_MEMBERS[terms.reason], 'is not valid in committed terms')
  const { by, min, until } = terms.value
  if (by !== null && !operators.includes(by))
    return invalid('executor', 'must be an operator of this service, or absent', { operators })
  if (committedUuid(terms.value, network) !== uuid)
    return invalid(
      'uuid',
      'is not the hash of minAmountOut, salt, deadline, executor, recipient and outputToken',
    )
  if (order.validTo !== undefined && Date.parse(order.validTo) > until * 1000)
    return invalid('validTo', 'must not be after deadline')
  return ok({
    router,
    commitment: { minAmountOut: min, commitSalt: salt, commitUntil: until, committedBy: by },
  })
}

const TERM_MEMBERS = {
  invalid_by: 'executor',
  invalid_min: 'minAmountOut',
  invalid_salt: 'salt',
  invalid_to: 'recipient',
  invalid_token: 'outputToken',
  invalid_until: 'deadline',
} as const

function invalid(path: string, message: string, facts: Record<string, unknown> = {}) {
  return refuse('invalidRequest' as const, {
    problem: 'order does not fit the router',
    issues: [{ path, message }],
    ...facts,
  })
}
