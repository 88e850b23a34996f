/*
 * The form of texts for people: names, labels, justifications. The service refuses what does not have it, and the SDK writes what it
 * signs in it. Neither zod nor SQL: the SDK bundles this file.
 */

/** The form of a text for people. */
export interface PlainTextForm {
  maxCharacters: number
  isTrimmed?: true
}

/**
 * What is not seen, or has no agreed look: controls, formats, line and paragraph separators, tags, variation selectors, fillers,
 * blanks that are no spaces, halves of surrogate pairs, noncharacters, private use. A text with them can look like another one.
 */
const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\p{Noncharacter_Code_Point}\u2800\ufffc\u{16fe4}\u{1d159}]/u
const ALL_UNSEEN = new RegExp(UNSEEN, 'gu')
/** A joiner or selector within an emoji changes what is seen. Removed before the search for what is not. */
const EMOJI =
  /\p{Extended_Pictographic}\ufe0f?\p{Emoji_Modifier}?(?:\u200d\p{Extended_Pictographic}\ufe0f?\p{Emoji_Modifier}?)*|[0-9#*]\ufe0f?\u20e3/gu
/** Marks change the look of what they follow, and have little of their own. */
const NOTHING_BUT_MARKS = /^[\p{M}\p{Z}]*$/u

/** What is wrong with a text; undefined when it has the form. */
export function textFault(
  text: string,
  { maxCharacters, isTrimmed }: PlainTextForm,
): string | undefined {
  if (text === '') return 'must not be empty'
  if ([...text].length > maxCharacters) return `must be ${maxCharacters} characters or fewer`
  const [unseen] = UNSEEN.exec(text.replace(EMOJI, '')) ?? []
  if (unseen !== undefined) return `must not have ${describe(unseen)}`
  if (isTrimmed === true && text.trim() !== text) return 'must not begin or end with white space'
  if (text.normalize('NFC') !== text)
    return 'must be in Unicode normalization form C (NFC), as é in one character'
  return NOTHING_BUT_MARKS.test(text) ? 'must have a character that can be seen' : undefined
}

function describe(character: string): string {
  const code = (character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')
  if (/\p{Cs}/u.test(character)) return `U+${code}, half of a surrogate pair`
  const kind = /\p{Cc}/u.test(character) ? 'control' : 'invisible'
  return `the ${kind} character U+${code}`
}

/**
 * What two names have in common that look the same: compatibility forms (NFKC), what is not seen left out, any white space as one
 * space. Case differs to the eye, and stays; letters of other scripts that look alike stay apart too.
 */
export function nameSkeleton(name: string): string {
  return name
    .normalize('NFKC')
    .replace(ALL_UNSEEN, '')
    .replace(/\p{Z}+/gu, ' ')
    .trim()
    .normalize('NFKC')
}
