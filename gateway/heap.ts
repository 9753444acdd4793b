/** A binary heap, smallest key first. */
export type Heap<T> = { push(item: T): void; peek(): T | undefined; pop(): T | undefined; size(): number }

export function createHeap<T>(key: (item: T) => number): Heap<T> {
  const items: T[] = []
  const at = (index: number): T => items[index] as T
  const swap = (a: number, b: number): void => {
    const item = at(a)
    items[a] = at(b)
    items[b] = item
  }
  const sink = (start: number): void => {
    for (let index = start; ;) {
      const left = 2 * index + 1
      const right = left + 1
      let least = index
      if (left < items.length && key(at(left)) < key(at(least))) least = left
      if (right < items.length && key(at(right)) < key(at(least))) least = right
      if (least === index) return
      swap(index, least)
      index = least
    }
  }
  return {
    size: () => items.length,
    peek: () => items[0],
    push: (item) => {
      items.push(item)
      for (let index = items.length - 1; index > 0;) {
        const parent = (index - 1) >> 1
        if (key(at(parent)) <= key(at(index))) return
        swap(parent, index)
        index = parent
      }
    },
    pop: () => {
      const first = items[0]
      const last = items.pop()
      if (items.length > 0 && last !== undefined) {
        items[0] = last
        sink(0)
      }
      return first
    },
  }
}
