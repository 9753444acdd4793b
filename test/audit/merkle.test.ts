import { expect, test } from 'vitest'
import { growTree, leafHash, rootFromPath } from '../../audit/merkle.ts'

/** The test vectors of Certificate Transparency: eight leaves, and the root after each of them. */
const leaves = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
]
const roots = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
]
const hashes = leaves.map((leaf) => leafHash(Buffer.from(leaf, 'hex')))

test('the roots are those of the published vectors', () => {
  const grown = roots.map((_root, index) => growTree(hashes.slice(0, index + 1)).root.toString('hex'))
  expect(grown).toEqual(roots)
})

test('for every size and leaf the path leads to the root, and no other place or changed path does', () => {
  for (let size = 1; size <= 17; size++) {
    const many = Array.from({ length: size }, (_, n) => leafHash(Buffer.from([n])))
    const { root, paths } = growTree(many)
    for (const [index, leaf] of many.entries()) {
      const path = paths[index] ?? []
      expect(rootFromPath(leaf, index, size, path)).toEqual(root)
      for (let other = 0; other < size; other++)
        if (other !== index) expect(rootFromPath(leaf, other, size, path)).not.toEqual(root)
      expect(rootFromPath(leaf, index, size, [...path, root])).toBeUndefined()
      if (path.length > 0) expect(rootFromPath(leaf, index, size, path.slice(1))).not.toEqual(root)
    }
  }
})
