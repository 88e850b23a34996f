/** The version of the package, of the API document and of /info. A test compares it with package.json. */
export const VERSION = '0.1.0'
