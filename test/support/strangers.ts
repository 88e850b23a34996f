import { hashMessage } from '@stacks/encryption'
import { signMessageHashRsv } from '@stacks/transactions'
import { sql } from 'drizzle-orm'
import { beforeAll, describe, expect, it } from 'vitest'
import { toHex } from '../../src/crypto/bytes.ts'
import { rows } from '../../src/db/database.ts'
import type { RefusalReason } from '../../src/errors.ts'
import { SCOPES, type Scope } from '../../src/keys/scope.ts'
import { toHighS } from '../stacks/wallets.ts'
import { answered, asksNothing, changesNothing, kept, refused } from './assertions.ts'
import { unknownSecret } from './secrets.ts'
import type { Service } from './service.ts'
import { createKey, newWallet, type Wallet } from './wallet.ts'

type Signed = ReturnType<Wallet['sign']>

/** What a request to a protected route acts on, and what its owner signs for it. */
export interface Target {
  path: string
  /** Sent with every request: an order that carries a signature of its own. */
  body?: object
  /** The members of the message that opens the route, without a timestamp. */
  message?: Record<string, unknown>
}

/** A route that strangers must not pass. */
export interface ProtectedRoute {
  title: string
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** The answer to a request without any credentials; none where the route is also public. */
  withoutCredentials?: RefusalReason
  /** What a key needs to open it; none where keys open nothing. */
  key?: {
    scope?: Scope
    ofAnotherWallet?: RefusalReason
    /** Whoever has the secret may: without quota, from any address, suspended or not. */
    isUncounted?: true
  }
  /** How a session opens it; none where sessions open nothing. */
  session?: {
    /** The answer to the session of another wallet; none where it reads what is its own. */
    ofAnotherWallet?: RefusalReason
  }
  /** How it reads a signed message; none where messages open nothing. */
  signed?: {
    carry(target: Target, signed: Signed): RequestInit
    /** The answer to another wallet that signs in its own name. */
    ofAnotherWallet?: RefusalReason
    /** The answer to the same message once more; none where it may be repeated. */
    again?: RefusalReason
    /** Members that make a message too old or too new; a timestamp of 301 s ago unless said. */
    untimely?(now: number): readonly [members: object, reason: 'stale' | 'future'][]
  }
  arrange(service: Service, owner: Wallet): Promise<Target>
}

/** Puts a signed message into the headers of a GET. */
export function inHeaders(_: Target, { message, signature, walletAddress }: Signed): RequestInit {
  return {
    headers: { 'X-Message': message, 'X-Signature': signature, 'X-Wallet-Address': walletAddress },
  }
}

/** Puts a signed message into the body. */
export function inBody(_: Target, signed: Signed): RequestInit {
  return { body: JSON.stringify(signed) }
}

/** Puts a signed message beside an order. */
export function besideOrder({ body }: Target, { message, signature }: Signed): RequestInit {
  return { body: JSON.stringify({ ...body, message, messageSignature: signature }) }
}

/** Who may not pass, does not pass, learns only what the contract says, and leaves no trace. */
export function refusesStrangers(route: ProtectedRoute, running: () => Service): void {
  describe(route.title, () => {
    let service: Service
    beforeAll(() => {
      service = running()
    })
    const arrange = async () => {
      const owner = newWallet(service)
      return { owner, target: await route.arrange(service, owner) }
    }
    const call = (target: Target, init: RequestInit & { ip?: string }) =>
      service.call(target.path, {
        method: route.method,
        ...(target.body !== undefined && { body: JSON.stringify(target.body) }),
        ...init,
      })
    const change = (keyId: string, column: string) =>
      rows(service.world.db, sql`UPDATE api_keys SET ${sql.raw(column)} WHERE id = ${keyId}`)

    const { withoutCredentials, key, session, signed } = route
    if (withoutCredentials !== undefined)
      it('refuses a request without credentials', async () => {
        const { target } = await arrange()
        await changesNothing(service, async () =>
          refused(await call(target, {}), withoutCredentials),
        )
      })

    if (key !== undefined) {
      const { scope, ofAnotherWallet, isUncounted = false } = key
      const withKey = (target: Target, apiKey: string) =>
        call(target, { headers: { 'X-API-Key': apiKey } })

      it('lets a key of the owner through, in either header', async () => {
        const header = await arrange()
        const first = await createKey(service, header.owner)
        expect((await withKey(header.target, first.apiKey)).ok).toBe(true)
        const bearer = await arrange()
        const { apiKey } = await createKey(service, bearer.owner)
        const response = await call(bearer.target, {
          headers: { Authorization: `Bearer ${apiKey}` },
        })
        expect(response.ok).toBe(true)
        if (isUncounted) return
        expect(response.headers.get('X-RateLimit-Remaining')).toBe('99')
        expect(response.headers.get('RateLimit-Policy')).toBe(
          '"minute";q=100;w=60, "hour";q=1000;w=3600, "day";q=10000;w=86400',
        )
      })

      it('refuses what is not a key without asking the database', async () => {
        const { owner, target } = await arrange()
        const { apiKey } = await createKey(service, owner)
        const malformed = [
          'x',
          'ck_live_',
          apiKey.slice(0, -1),
          `${apiKey}0`,
          apiKey.toUpperCase(),
          apiKey.replace('ck_live_', 'ck_test_'),
          `${apiKey.slice(0, 20)}-${apiKey.slice(21)}`,
          'k'.repeat(5_000),
        ]
        for (const text of malformed)
          await asksNothing(service, async () =>
            refused(await withKey(target, text), 'apiKeyInvalid'),
          )
        await asksNothing(service, async () =>
          refused(await withKey(target, `${apiKey}, ${apiKey}`), 'invalidRequest'),
        )
        for (const authorization of [apiKey, 'Bearer', `Bearer ${apiKey} x`])
          await asksNothing(service, async () =>
            refused(
              await call(target, { headers: { Authorization: authorization } }),
              'apiKeyInvalid',
            ),
          )
      })

      it("takes another scheme's credential for none, whatever it carries", async () => {
        const { owner, target } = await arrange()
        const { apiKey } = await createKey(service, owner)
        for (const authorization of [
          'Basic YTpi',
          `Basic ${apiKey}`,
          'Negotiate x',
          'Digest a=b',
        ]) {
          const headers = { Authorization: authorization }
          const response = await call(target, { headers })
          const without = await call(target, {})
          if (withoutCredentials !== undefined) await refused(response, withoutCredentials)
          else expect(response.ok || response.status === without.status).toBe(true)
          const both = await arrange()
          const good = await createKey(service, both.owner)
          const accepted = await call(both.target, {
            headers: { ...headers, 'X-API-Key': good.apiKey },
          })
          expect(accepted.ok, await accepted.clone().text()).toBe(true)
        }
      })

      it('refuses a key with any one character mistyped without asking the database', async () => {
        const { owner, target } = await arrange()
        const { apiKey } = await createKey(service, owner)
        for (let at = 0; at < apiKey.length; at++) {
          const wrong = apiKey[at] === 'x' ? 'y' : 'x'
          const mistyped = apiKey.slice(0, at) + wrong + apiKey.slice(at + 1)
          await asksNothing(service, async () =>
            refused(await withKey(target, mistyped), 'apiKeyInvalid'),
          )
        }
      })

      it('refuses two different keys in one request', async () => {
        const { owner, target } = await arrange()
        const [one, other] = [await createKey(service, owner), await createKey(service, owner)]
        const headers = { 'X-API-Key': one.apiKey, Authorization: `Bearer ${other.apiKey}` }
        await changesNothing(service, async () =>
          refused(await call(target, { headers }), 'invalidRequest'),
        )
      })

      it('refuses a well-formed key that was never given, after one statement where it is counted', async () => {
        const { target } = await arrange()
        const unknown = unknownSecret()
        await changesNothing(service, async () => {
          const before = service.statements.length
          const body = await refused(await withKey(target, unknown), 'apiKeyInvalid')
          if (!isUncounted) expect(service.statements.length - before).toBe(1)
          expect(body).not.toHaveProperty('details')
        })
      })

      it('refuses a revoked key, the same every time', async () => {
        const { owner, target } = await arrange()
        const { apiKey, keyId } = await createKey(service, owner)
        const revocation = owner.sign({ action: 'delete_api_key', keyId })
        await answered(
          await service.call(`/api-keys/${keyId}`, {
            method: 'DELETE',
            body: JSON.stringify(revocation),
          }),
        )
        await changesNothing(service, async () => {
          for (let time = 0; time < 3; time++) {
            const body = await refused(await withKey(target, apiKey), 'apiKeyInactive')
            expect(body.details).toEqual({ reason: 'revoked' })
          }
        })
      })

      it('refuses a secret that was rotated away, from the end of its grace', async () => {
        const { owner, target } = await arrange()
        const { apiKey, keyId } = await createKey(service, owner)
        const rotation = owner.sign({ action: 'rotate_api_key', keyId, graceSeconds: 1 })
        await answered(
          await service.call(`/api-keys/${keyId}/rotate`, {
            method: 'POST',
            body: JSON.stringify(rotation),
          }),
        )
        service.clock.now += 1_000
        await changesNothing(service, async () => {
          const body = await refused(await withKey(target, apiKey), 'apiKeyInactive')
          expect(body.details).toEqual({ reason: 'rotated' })
        })
      })

      it('refuses a session in its place', async () => {
        const { owner, target } = await arrange()
        const session = await openSession(service, owner)
        await asksNothing(service, async () =>
          refused(await withKey(target, session), 'apiKeyInvalid'),
        )
      })

      if (!isUncounted)
        it('refuses a suspended key', async () => {
          const { owner, target } = await arrange()
          const { apiKey, keyId } = await createKey(service, owner)
          const suspension = owner.sign({ action: 'suspend_api_key', keyId })
          await answered(
            await service.call(`/api-keys/${keyId}/suspend`, {
              method: 'POST',
              body: JSON.stringify(suspension),
            }),
          )
          await changesNothing(service, async () => {
            const body = await refused(await withKey(target, apiKey), 'apiKeyInactive')
            expect(body.details).toEqual({ reason: 'suspended' })
          })
        })

      if (!isUncounted)
        it('refuses a key whose row was edited', async () => {
          const { owner, target } = await arrange()
          const { apiKey, keyId } = await createKey(service, owner)
          await change(keyId, "permissions = '{}'")
          const others = await storedWithout(service, keyId)
          const body = await refused(await withKey(target, apiKey), 'apiKeyInactive')
          expect(body.details).toEqual({ reason: 'tampered' })
          expect(await storedWithout(service, keyId)).toEqual(others)
        })

      it('refuses a key from the very millisecond at which it expires', async () => {
        const { owner, target } = await arrange()
        const expiresAt = service.clock.now + 60_000
        const { apiKey } = await createKey(service, owner, { expiresAt })
        service.clock.now = expiresAt
        await changesNothing(service, async () => {
          const body = await refused(await withKey(target, apiKey), 'apiKeyInactive')
          expect(body.details).toEqual({ reason: 'expired' })
        })
      })

      if (!isUncounted)
        it('refuses a key from an address that is not on its list', async () => {
          const { owner, target } = await arrange()
          const { apiKey } = await createKey(service, owner, {
            ipAllowlist: ['192.0.2.0/24', '2001:db8::/32'],
          })
          const headers = { 'X-API-Key': apiKey }
          for (const ip of ['198.51.100.7', '2001:db9::1', 'unix'])
            await changesNothing(service, async () => {
              const body = await refused(await call(target, { headers, ip }), 'ipNotAllowed')
              expect(body.details).toEqual({ observedIp: ip === 'unix' ? null : ip })
            })
          expect((await call(target, { headers, ip: '::ffff:192.0.2.7' })).ok).toBe(true)
        })

      if (!isUncounted)
        it('refuses a key whose minute is used up, and uses up nothing more', async () => {
          const { owner, target } = await arrange()
          const { apiKey, keyId } = await createKey(service, owner)
          const minute = Math.floor(service.clock.now / 60_000)
          await rows(
            service.world.db,
            sql`UPDATE key_counters SET minute_window = ${minute}, minute_count = 100 WHERE key_id = ${keyId}`,
          )
          await changesNothing(service, async () => {
            const response = await withKey(target, apiKey)
            expect(response.headers.get('X-RateLimit-Remaining')).toBe('0')
            expect(response.headers.get('X-RateLimit-Reset')).toBe(String((minute + 1) * 60))
            await refused(response, 'rateLimited')
          })
        })

      if (scope !== undefined)
        it('refuses a key without the permission, and counts the request as failed', async () => {
          const { owner, target } = await arrange()
          const granted = SCOPES.filter((one) => one !== scope)
          for (const permissions of [granted, []]) {
            const { apiKey, keyId } = await createKey(service, owner, { permissions })
            const others = await storedWithout(service, keyId)
            const body = await refused(await withKey(target, apiKey), 'permissionDenied')
            expect(body.details).toEqual({ required: scope, granted: permissions })
            expect(await storedWithout(service, keyId)).toEqual(others)
            expect(await usage(service, keyId)).toEqual({ total: 1, successful: 0 })
          }
        })

      if (ofAnotherWallet !== undefined)
        it("refuses another wallet's key, and counts the request as failed", async () => {
          const { owner, target } = await arrange()
          const stranger = newWallet(service)
          const { apiKey, keyId } = await createKey(service, stranger)
          const others = await storedWithout(service, keyId)
          const body = await refused(await withKey(target, apiKey), ofAnotherWallet)
          expect(body.details).toEqual({
            apiKeyWallet: stranger.address,
            orderOwner: owner.address,
            orderUuid: expect.any(String),
          })
          expect(await storedWithout(service, keyId)).toEqual(others)
          expect(await usage(service, keyId)).toEqual({ total: 1, successful: 0 })
        })
    }

    if (session !== undefined) {
      const withSession = (target: Target, text: string) =>
        call(target, { headers: { Authorization: `Bearer ${text}` } })

      it('lets a session of the owner through', async () => {
        const { owner, target } = await arrange()
        expect((await withSession(target, await openSession(service, owner))).ok).toBe(true)
      })

      it('refuses what is not a session without asking the database', async () => {
        const { owner, target } = await arrange()
        const text = await openSession(service, owner)
        for (const wrong of ['cs_', 'cs_x', text.slice(0, -1), `${text}0`, `${text.slice(0, -1)}-`])
          await asksNothing(service, async () =>
            refused(await withSession(target, wrong), 'sessionInvalid'),
          )
      })

      it('refuses a well-formed session that was never opened', async () => {
        const { target } = await arrange()
        await changesNothing(service, async () =>
          refused(await withSession(target, unknownSecret('cs_')), 'sessionInvalid'),
        )
      })

      it('refuses a session that has ended, and one from the very millisecond at which it expires', async () => {
        const { owner, target } = await arrange()
        const [ended, expired] = [
          await openSession(service, owner, 60),
          await openSession(service, owner, 61),
        ]
        const headers = { Authorization: `Bearer ${ended}` }
        await answered(await service.call('/sessions/self', { method: 'DELETE', headers }))
        service.clock.now += 61_000
        for (const [text, reason] of [
          [ended, 'ended'],
          [expired, 'expired'],
        ] as const)
          await changesNothing(service, async () => {
            const body = await refused(await withSession(target, text), 'sessionInvalid')
            expect(body.details).toEqual({ reason })
          })
      })

      if (key === undefined)
        it('refuses a key in its place', async () => {
          const { owner, target } = await arrange()
          const { apiKey } = await createKey(service, owner)
          await changesNothing(service, async () =>
            expect((await withSession(target, apiKey)).status).toBe(401),
          )
        })

      const { ofAnotherWallet } = session
      if (ofAnotherWallet !== undefined)
        it("refuses another wallet's session", async () => {
          const { target } = await arrange()
          const theirs = await openSession(service, newWallet(service))
          await changesNothing(service, async () =>
            refused(await withSession(target, theirs), ofAnotherWallet),
          )
        })
    }

    if (signed !== undefined) {
      const { carry, ofAnotherWallet, again, untimely = tooOldOrNew } = signed
      const present = (target: Target, proof: Signed) => call(target, carry(target, proof))

      it('lets a message of the owner through', async () => {
        const { owner, target } = await arrange()
        const response = await present(target, owner.sign(target.message ?? {}))
        expect(response.ok, await response.clone().text()).toBe(true)
      })

      it('refuses a signature by another wallet', async () => {
        const { owner, target } = await arrange()
        const forged = { ...newWallet(service).sign(target.message ?? {}) }
        await changesNothing(service, async () => {
          const proof = { ...forged, walletAddress: owner.address }
          const body = await refused(await present(target, proof), 'signatureInvalid')
          expect(body.details).toEqual({
            reason: 'another_wallet',
            recovered: expect.arrayContaining([forged.walletAddress]),
          })
        })
      })

      it('refuses a signature for another message', async () => {
        const { owner, target } = await arrange()
        const { signature } = owner.sign({ ...target.message, timestamp: service.clock.now - 1 })
        await changesNothing(service, async () =>
          refused(
            await present(target, { ...owner.sign(target.message ?? {}), signature }),
            'signatureInvalid',
          ),
        )
      })

      it('refuses a message for another action', async () => {
        const { owner, target } = await arrange()
        for (const action of ['list_api_keys', 'list_orders', 'cancel_order', 'execute_order']) {
          if (action === target.message?.action) continue
          for (const members of [{ ...target.message, action }, { action }])
            await changesNothing(service, async () => {
              const body = await refused(
                await present(target, owner.sign(members)),
                'invalidRequest',
              )
              expect(body.details?.expected).toMatchObject({ action: target.message?.action })
            })
        }
      })

      it('refuses a signature that is not exactly one of the contract', async () => {
        const { owner, target } = await arrange()
        const proof = plainlyRsv(
          (timestamp) => owner.sign({ ...target.message, timestamp }),
          service.clock.now,
        )
        const { signature, message } = proof
        const legacy = signMessageHashRsv({
          messageHash: toHex(hashMessage(message, '\x18Stacks Signed Message:\n')),
          privateKey: owner.privateKey,
        })
        const faults: Record<string, string> = {
          '': 'malformed',
          '0x': 'malformed',
          [signature.slice(2)]: 'malformed',
          [`${signature}00`]: 'malformed',
          [`00${signature}`]: 'malformed',
          [`0x0x${signature}`]: 'malformed',
          [`${signature.slice(0, -1)}g`]: 'malformed',
          [toHighS(signature)]: 'high_s',
          [legacy]: 'another_wallet',
          ['0'.repeat(130)]: 'out_of_range',
          ['f'.repeat(130)]: 'recovery_id_out_of_range',
        }
        for (const [text, reason] of Object.entries(faults))
          await changesNothing(service, async () => {
            const body = await refused(
              await present(target, { ...proof, signature: text }),
              'signatureInvalid',
            )
            expect(body.details, text).toMatchObject({ reason })
          })
      })

      it('refuses a message that is too old or too new, and tells the time', async () => {
        const { owner, target } = await arrange()
        const { now } = service.clock
        for (const [members, reason] of untimely(now)) {
          const proof = owner.sign({ ...target.message, ...members })
          const { timestamp } = JSON.parse(proof.message)
          await changesNothing(service, async () => {
            const body = await refused(await present(target, proof), 'timestampExpired')
            expect(body.details).toEqual({ reason, timestamp, serverTime: now })
          })
        }
      })

      it('refuses a message for another service, network or wallet', async () => {
        const { owner, target } = await arrange()
        for (const [member, reason] of [
          [{ domain: 'evil.example' }, 'wrong_domain'],
          [{ network: 'mainnet' }, 'wrong_network'],
          [{ walletAddress: newWallet(service).address }, 'wrong_wallet'],
        ] as const) {
          const proof = owner.sign({ ...target.message, ...member })
          await changesNothing(service, async () => {
            const body = await refused(await present(target, proof), 'signatureInvalid')
            expect(body.details).toMatchObject({ reason })
          })
        }
      })

      if (ofAnotherWallet !== undefined)
        it('refuses another wallet that signs in its own name', async () => {
          const { target } = await arrange()
          const proof = newWallet(service).sign(target.message ?? {})
          await changesNothing(service, async () =>
            refused(await present(target, proof), ofAnotherWallet),
          )
        })

      if (again !== undefined)
        it('lets a message work once, however its signature is written', async () => {
          const { owner, target } = await arrange()
          const proof = owner.sign(target.message ?? {})
          expect((await present(target, proof)).ok).toBe(true)
          const { signature } = proof
          await changesNothing(service, async () => {
            for (const text of [
              signature,
              `0x${signature.toUpperCase()}`,
              signature.slice(-2) + signature.slice(0, -2),
            ])
              await refused(await present(target, { ...proof, signature: text }), again)
          })
        })
    }
  })
}

function tooOldOrNew(now: number): [object, 'stale' | 'future'][] {
  return [
    [{ timestamp: now - 300_001 }, 'stale'],
    [{ timestamp: now + 60_001 }, 'future'],
    [{ timestamp: Math.floor(now / 1000) }, 'stale'],
  ]
}

async function openSession(service: Service, by: Wallet, ttlSeconds = 60): Promise<string> {
  const body = JSON.stringify(by.sign({ action: 'create_session', ttlSeconds }))
  const response = await service.call('/sessions', { method: 'POST', body })
  return (await answered<{ session: string }>(response, 201)).session
}

/** Signs until the first byte of r is no recovery id: the signature then reads in one order only. */
function plainlyRsv(sign: (timestamp: number) => Signed, timestamp: number): Signed {
  const signed = sign(timestamp)
  return /^0[0-3]/.test(signed.signature) ? plainlyRsv(sign, timestamp - 1) : signed
}

/** Every row but one key's, and its counters. */
async function storedWithout(service: Service, keyId: string): Promise<string[]> {
  return (await kept(service)).filter((row) => !row.includes(`id": "${keyId}"`))
}

async function usage(service: Service, keyId: string) {
  const [key] = await rows<{ total: number; successful: number }>(
    service.world.db,
    sql`SELECT total_requests::int AS total, successful_requests::int AS successful
      FROM key_counters WHERE key_id = ${keyId}`,
  )
  return key
}
