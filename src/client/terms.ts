/** The table of key terms, for the command line and the page: their options follow from it. Not part of the published entry. */
export {
  KEY_TERMS,
  type KeyTerms,
  type MemberForm,
  TERM_NAMES,
  type TermForm,
  type TermIssue,
  type TermName,
  type TermsPolicy,
  validateTerms,
} from '../keys/terms.ts'
