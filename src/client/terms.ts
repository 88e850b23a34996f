/** The table of key terms, for the command line: its options follow from it. Not part of the published entry. */
export { KEY_TERMS, TERM_NAMES, type TermForm, type TermName } from '../keys/terms.ts'
