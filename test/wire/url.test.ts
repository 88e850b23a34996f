import { expect, it } from 'vitest'
import { extendUrl, originOf } from '../../src/wire/url.ts'

it.each([
  ['http://h', '/a', {}, 'http://h/a'],
  ['http://h//', '/a', {}, 'http://h/a'],
  ['http://h/k/', '/a?b=1', {}, 'http://h/k/a?b=1'],
  ['http://h/k?x=%20y/', '/a?b=1', { c: '&' }, 'http://h/k/a?x=%20y/&b=1&c=%26'],
  ['http://h/q/', '', { c: '1' }, 'http://h/q/?c=1'],
])('%j is extended by %j and %j', (base, path, query, expected) => {
  expect(extendUrl(base, path, query as Record<string, string>)).toBe(expected)
})

it('an address is shown without what may be a credential', () => {
  expect(originOf('http://h/a?apikey=K#f?')).toBe('http://h')
  expect(originOf('https://u:p@h:8/key/a')).toBe('https://h:8')
  expect(originOf('')).toBe('')
})
