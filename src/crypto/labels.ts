/** The label of an order's encrypted intent signature: a box that was moved to another row does not decrypt. */
export function signatureLabel(uuid: string): string {
  return `order signature ${uuid}`
}

/** The label of a stored transaction's encrypted bytes. */
export function transactionLabel(txid: string): string {
  return `transaction ${txid}`
}

/** The label of a webhook's encrypted secrets. */
export function webhookSecretLabel(webhookId: string): string {
  return `webhook secret ${webhookId}`
}
