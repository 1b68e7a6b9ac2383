// A read-only cursor over a JSON text that is outside the Go heap. It allocates nothing: encoding/json would fill the
// heap under test before the run begins. The text comes from our own serialiser, so malformed input is a plain failure.

package main

import (
	"strconv"
	"unsafe"
)

// A value is the text of one JSON value, without surrounding space. The empty value means "absent".
type value []byte

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// skip returns the index just past the JSON value that starts at i.
func skip(b []byte, i int) int {
	depth, inString := 0, false
	for ; i < len(b); i++ {
		c := b[i]
		if inString {
			if c == '\\' {
				i++
			} else if c == '"' {
				inString = false
				if depth == 0 {
					return i + 1
				}
			}
			continue
		}
		switch c {
		case '"':
			inString = true
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ':', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}

// get returns the value under key in an object, or the empty value.
func (v value) get(key string) value {
	if len(v) == 0 || v[0] != '{' {
		return nil
	}
	for i := 1; i < len(v); {
		for i < len(v) && (isSpace(v[i]) || v[i] == ',') {
			i++
		}
		if i >= len(v) || v[i] != '"' {
			return nil
		}
		keyEnd := skip(v, i)
		name := v[i+1 : keyEnd-1]
		i = keyEnd
		for i < len(v) && (isSpace(v[i]) || v[i] == ':') {
			i++
		}
		end := skip(v, i)
		if string(name) == key {
			return v[i:end]
		}
		i = end
	}
	return nil
}

// An items iterates over the elements of an array.
type items struct {
	v value
	i int
}

func (v value) items() items {
	if len(v) == 0 || v[0] != '[' {
		return items{nil, 0}
	}
	return items{v, 1}
}

func (it *items) next() (value, bool) {
	for it.i < len(it.v) && (isSpace(it.v[it.i]) || it.v[it.i] == ',') {
		it.i++
	}
	if it.i >= len(it.v) || it.v[it.i] == ']' {
		return nil, false
	}
	start := it.i
	it.i = skip(it.v, start)
	return it.v[start:it.i], true
}

func (v value) count() int {
	n := 0
	it := v.items()
	for {
		if _, ok := it.next(); !ok {
			return n
		}
		n++
	}
}

func (v value) exists() bool { return len(v) > 0 && string(v) != "null" }

func (v value) is(s string) bool {
	return len(v) == len(s)+2 && v[0] == '"' && string(v[1:len(v)-1]) == s
}

// text is the string between the quotes; it shares the input's memory. Escapes are not decoded (names have none).
func (v value) text() string {
	if len(v) < 3 || v[0] != '"' {
		return ""
	}
	return textOf(v[1 : len(v)-1])
}

func (v value) number(missing float64) float64 {
	if !v.exists() {
		return missing
	}
	x, err := strconv.ParseFloat(textOf(v), 64)
	if err != nil {
		fail("the scenario holds something else where a number belongs")
	}
	return x
}

func (v value) bool() bool { return string(v) == "true" }

// textOf views bytes as a string without copying them.
func textOf(b []byte) string { return *(*string)(unsafe.Pointer(&b)) }
