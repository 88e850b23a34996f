import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseJson } from '../../src/wire/json.ts'

describe('I-JSON', () => {
  it.each([
    ['{"a":1,"a":2}', 'duplicateMember'],
    ['{"a":1,"\\u0061":2}', 'duplicateMember'],
    ['{"a":1,"b":{"c":1,"c":1}}', 'duplicateMember'],
    ['[{"":1,"":1}]', 'duplicateMember'],
    ['{"a" : 1 ,\n"a"\t\r :2}', 'duplicateMember'],
    ['{"__proto__":1,"__proto__":1}', 'duplicateMember'],
    ['{"\\\\":1,"\\u005c":2}', 'duplicateMember'],
    ['{"\\"":1,"\\u0022":2}', 'duplicateMember'],
    ['"\\ud83d"', 'loneSurrogate'],
    ['"\\ude00\\ud83d"', 'loneSurrogate'],
    ['{"\\ud83d":1}', 'loneSurrogate'],
    ['["\ud83d"]', 'loneSurrogate'],
    [`${'['.repeat(17)}${']'.repeat(17)}`, 'tooDeep'],
    [`${'{"a":'.repeat(17)}1${'}'.repeat(17)}`, 'tooDeep'],
    ['', 'notJson'],
    ['{', 'notJson'],
    ["{'a':1}", 'notJson'],
    ['{a:1}', 'notJson'],
    ['[1,]', 'notJson'],
    ['01', 'notJson'],
    ['NaN', 'notJson'],
    ['\ufeff1', 'notJson'],
    ['"\u0000"', 'notJson'],
    ['"a\nb"', 'notJson'],
  ])('is not %j: %s', (text, reason) => {
    expect(parseJson(text)).toEqual({ ok: false, reason })
  })

  it.each([
    '{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}',
    '{"a":"a","b":"a:","c":"\\"a\\":"}',
    '["a","a"]',
    '{"a":"{\\"a\\":1,\\"a\\":2}"}',
    '"\\ud83d\\ude00"',
    '{"A":1,"a":1}',
    '{"\u00e9":1,"e\u0301":1}',
    `${'['.repeat(16)}${']'.repeat(16)}`,
    ' \t\r\n1 ',
    '-0',
    '1e400',
  ])('is %s', (text) => {
    expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) })
  })

  it('keeps a member called __proto__ as a member', () => {
    const parsed = parseJson('{"__proto__":{"admin":true}}')
    expect(parsed.ok && Object.keys(parsed.value ?? {})).toEqual(['__proto__'])
    expect(({} as { admin?: boolean }).admin).toBeUndefined()
  })

  it('is all that JSON.stringify writes of well-formed values', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 6, stringUnit: 'grapheme' }), (value) => {
        const text = JSON.stringify(value)
        expect(parseJson(text)).toEqual({ ok: true, value: JSON.parse(text) })
        expect(parseJson(JSON.stringify(value, null, 2))).toEqual(parseJson(text))
      }),
      { numRuns: 500 },
    )
  })

  it('notices a member twice wherever it is', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: 'grapheme' }), fc.jsonValue({ maxDepth: 2 }), {
          minKeys: 1,
        }),
        fc.nat(),
        fc.nat(),
        (object, from, to) => {
          const members = Object.entries(object).map(
            ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`,
          )
          fc.pre(members.every((member) => member.isWellFormed()))
          const twice = members[from % members.length] ?? ''
          members.splice(to % (members.length + 1), 0, twice)
          expect(parseJson(`[{${members.join(',')}}]`)).toEqual({
            ok: false,
            reason: 'duplicateMember',
          })
        },
      ),
      { numRuns: 500 },
    )
  })
})
