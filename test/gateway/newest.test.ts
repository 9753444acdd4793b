import { expect, test } from 'vitest'
import { createNewest } from '../../gateway/newest.ts'

const names = ['a', 'b', 'c', 'd']
const kept = (newest: { get(name: string): unknown }): string[] =>
  names.filter((name) => newest.get(name) !== undefined)

test('the oldest gives way to what there is no room for, and what is put again is new again', () => {
  const newest = createNewest<string>({ countMax: 2, bytesMax: 1_000 })
  newest.put('a', 'first', 10)
  newest.put('b', 'first', 10)
  newest.put('a', 'second', 10)
  newest.put('c', 'first', 10)
  expect(kept(newest)).toEqual(['a', 'c'])
  expect(newest.get('a')).toBe('second')
})

test('few large things take the room of many small ones, and give it back', () => {
  const newest = createNewest<number>({ countMax: 100, bytesMax: 1_000 })
  for (const [index, name] of names.entries()) newest.put(name, index, 400)
  expect(kept(newest)).toEqual(['c', 'd'])
  newest.drop('c')
  newest.drop('c')
  newest.put('d', 3, 100)
  newest.put('a', 0, 900)
  expect(kept(newest)).toEqual(['a', 'd'])
  newest.put('b', 1, 1_001)
  expect(kept(newest)).toEqual([])
})
