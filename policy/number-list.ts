/**
 * Numbers in a row that is filled anew for every job. Emptying keeps the room, so that what is looked for job after job leaves
 * nothing behind to be collected.
 */
export class NumberList {
  private readonly numbers: number[] = []
  count = 0

  clear(): void {
    this.count = 0
  }

  add(number: number): void {
    this.numbers[this.count++] = number
  }

  /** The number at a place below `count`. */
  at(place: number): number {
    return this.numbers[place] ?? 0
  }

  /** Keeps the first `count` numbers. */
  cut(count: number): void {
    this.count = count
  }

  put(place: number, number: number): void {
    this.numbers[place] = number
  }

  hash(): number {
    let hash = 0x2c1b3c6d + this.count
    for (let place = 0; place < this.count; place++) {
      hash = Math.imul(hash ^ this.at(place), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    // Thirty bits, which V8 keeps without an object of their own.
    return hash & 0x3fffffff
  }

  equals(numbers: readonly number[]): boolean {
    if (numbers.length !== this.count) return false
    for (let place = 0; place < numbers.length; place++) if (numbers[place] !== this.at(place)) return false
    return true
  }

  toArray(): number[] {
    return this.numbers.slice(0, this.count)
  }

  /** Ascending. By insertion, since mostly there are a handful; many are rare and are sorted properly. */
  sort(): void {
    const { numbers, count } = this
    if (count > 32) {
      for (const [place, number] of this.toArray()
        .toSorted((a, b) => a - b)
        .entries())
        numbers[place] = number
      return
    }
    for (let end = 1; end < count; end++) {
      const number = numbers[end] ?? 0
      let place = end
      for (; place > 0 && (numbers[place - 1] ?? 0) > number; place--)
        numbers[place] = numbers[place - 1] ?? 0
      numbers[place] = number
    }
  }
}
