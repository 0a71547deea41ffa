/** Cutting the text of an array. */
import fc from 'fast-check'
import t from 'tap'
import { elementTexts } from '#cloud/json-text.ts'

t.test('the texts of an array are those of its elements, whatever they hold', async () => {
  const value = fc.jsonValue()
  fc.assert(
    fc.property(fc.array(value, { minLength: 1 }), fc.constantFrom(undefined, 1, '\t'), (values, space) => {
      const texts = elementTexts(JSON.stringify(values, null, space))
      return (
        texts.length === values.length &&
        texts.every(
          (text, i) => !text.includes('\n') && JSON.stringify(JSON.parse(text)) === JSON.stringify(values[i]),
        )
      )
    }),
  )
})
