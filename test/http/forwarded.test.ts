import { Hono } from 'hono'
import { expect, it } from 'vitest'
import type { AppEnv } from '../../src/http/context.ts'
import { readForwarded } from '../../src/http/forwarded.ts'

/** What is read of a request with these headers, on a connection that is of a trusted proxy or is not. */
async function read(headers: Record<string, string>, isFromProxy = true): Promise<unknown> {
  const app = new Hono<AppEnv>()
  app.get('/', (c) => {
    c.set('state', { isFromProxy: () => isFromProxy } as never)
    return c.json(readForwarded(c) ?? null)
  })
  return (await app.request('/', { headers })).json()
}

const CADDY = {
  'X-Forwarded-Method': 'POST',
  'X-Forwarded-Host': 'api.dex.example:8443',
  'X-Forwarded-Uri': '/withdrawals/7?a=1&b=%2F',
}
const ASKED = {
  method: 'POST',
  authority: 'api.dex.example:8443',
  path: '/withdrawals/7',
  query: '?a=1&b=%2F',
}

it('is read from a trusted proxy, and from no other connection', async () => {
  expect(await read(CADDY)).toEqual(ASKED)
  expect(await read(CADDY, false)).toBeNull()
})

it.each([
  ['nginx', { 'X-Original-Method': 'POST', 'X-Original-URI': '/withdrawals/7?a=1&b=%2F' }],
  [
    'ingress-nginx',
    {
      'X-Original-Method': 'POST',
      'X-Original-URL': 'https://api.dex.example:8443/withdrawals/7?a=1&b=%2F',
    },
  ],
])('is read as %s writes it', async (_, headers) => {
  const { authority: _authority, ...rest } = ASKED
  expect(await read(headers)).toEqual(rest)
})

it.each([
  ['no method', { 'X-Forwarded-Method': '' }],
  ['a method that is none', { 'X-Forwarded-Method': 'GET /' }],
  ['two methods', { 'X-Forwarded-Method': 'GET, POST' }],
  ['no path', { 'X-Forwarded-Uri': 'withdrawals' }],
  ['a path with a space', { 'X-Forwarded-Uri': '/a b' }],
  ['a fragment', { 'X-Forwarded-Uri': '/a#b' }],
  ['a path that is too long', { 'X-Forwarded-Uri': `/${'a'.repeat(8_192)}` }],
])('with %s is none', async (_, headers) => {
  expect(await read({ ...CADDY, ...headers })).toBeNull()
})

it('has no authority where the host is none', async () => {
  const { authority: _authority, ...rest } = ASKED
  expect(await read({ ...CADDY, 'X-Forwarded-Host': 'a/b' })).toEqual(rest)
})
