export function median(values: readonly number[]): number {
  return quantile(
    [...values].sort((one, other) => one - other),
    0.5,
  )
}

/** Of ascending values. */
export function quantile(ascending: ArrayLike<number>, share: number): number {
  if (ascending.length === 0) return Number.NaN
  const at = (ascending.length - 1) * share
  const [low, high] = [ascending[Math.floor(at)] as number, ascending[Math.ceil(at)] as number]
  return low + (high - low) * (at - Math.floor(at))
}
