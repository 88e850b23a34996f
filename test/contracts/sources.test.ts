import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { COMMITTED_ROUTER_ERRORS } from '../../src/contracts/committed-router.ts'
import { committedRouterSources } from '../../src/contracts/sources.ts'
import { COMMITTED_ROUTER, DEPLOYER, INTENT_VERIFIER } from '../../src/devnet/constants.ts'

const SP = 'SP2ZNGJ85ENDY6QRHQ5P2D4FXKGZWCKTB2T0Z55KS'
const textOf = (file: string) =>
  readFileSync(new URL(`../../src/contracts/${file}.clar`, import.meta.url), 'utf8')
const templates = ['committed-router-account', 'committed-router'].map(textOf)

describe('the sources of a committed router', () => {
  test('name the deployment and its verifier, and no other contract', async () => {
    const sources = await committedRouterSources({
      network: 'mainnet',
      router: `${SP}.x-committed-1`,
      verifier: `${SP}.blaze-v1`,
    })
    expect(sources.map(({ name }) => name)).toEqual(['x-committed-1-account', 'x-committed-1'])
    const code = sources.map(({ source }) => source.replace(/;;.*$/gm, ''))
    const named = code.map((text) => [...new Set(text.match(/(?<=[\s(])('S\w+)?\.[\w-]+/g))].sort())
    expect(named).toEqual([
      ['.x-committed-1'],
      [`'${SP}.blaze-v1`, '.x-committed-1-account'].sort(),
    ])
    expect(code.join().match(/S[PT][0-9A-Z]{30,}/g)).toHaveLength(3)
  })

  test('differ from the files in these names alone', async () => {
    const sources = await committedRouterSources({
      network: 'devnet',
      router: `${DEPLOYER}.committed-router`,
      verifier: `${DEPLOYER}.verifier`,
    })
    const original = sources.map(({ source }) =>
      source.replaceAll(`'${DEPLOYER}.verifier`, '.intent-verifier'),
    )
    expect(original).toEqual(templates)
  })

  test('of Clarity 6 differ in how they use their own authority, and in nothing else', async () => {
    const deployment = {
      network: 'devnet',
      router: COMMITTED_ROUTER,
      verifier: INTENT_VERIFIER,
    } as const
    const [in3, in6] = [
      await committedRouterSources(deployment),
      await committedRouterSources({ ...deployment, clarityVersion: 6 }),
    ]
    const changed = in6.map(({ source }, at) => {
      const lines = in3[at]?.source.split('\n') ?? []
      return source.split('\n').filter((line, number) => line !== lines[number])
    })
    expect(changed.flat().map((line) => line.trim())).toEqual([
      '(define-constant ACCOUNT current-contract)',
      '(as-contract? ((with-all-assets-unsafe)) (try! (swap-and-pay amount input hops output to)))))',
      '(define-constant ROUTER current-contract)',
      '(as-contract? ((with-all-assets-unsafe)) (try! (contract-call? input transfer amount ROUTER to none))))',
    ])
    expect(in6.map(({ clarityVersion }) => clarityVersion)).toEqual([6, 6])
  })

  test('leave comments as they are', async () => {
    const comments = (text: string) => text.match(/;;.*$/gm)
    const sources = await committedRouterSources({
      network: 'devnet',
      router: COMMITTED_ROUTER,
      verifier: INTENT_VERIFIER,
    })
    expect(sources.map(({ source }) => comments(source))).toEqual(templates.map(comments))
  })

  test.each([
    ['a router of another network', { router: `${SP}.router` }],
    ['a router without a name', { router: DEPLOYER }],
    [
      'a name that leaves no room for that of the account',
      { router: `${DEPLOYER}.${'a'.repeat(33)}` },
    ],
    ['a verifier of another network', { verifier: `${SP}.blaze-v1` }],
    ['a verifier that is code', { verifier: `${DEPLOYER}.x) (begin` }],
  ])('are not made of %s', async (_, change) => {
    const deployment = { network: 'devnet', router: COMMITTED_ROUTER, verifier: INTENT_VERIFIER }
    await expect(
      committedRouterSources({ ...deployment, ...change, network: 'devnet' }),
    ).rejects.toThrow(TypeError)
  })
})

test('every code that the contracts refuse with is in the table, and no other', () => {
  const codes = templates.flatMap((text) =>
    [...text.matchAll(/\(err u(\d+)\)/g)].map(([, code]) => code),
  )
  expect(codes.sort()).toEqual(Object.keys(COMMITTED_ROUTER_ERRORS).sort())
})
