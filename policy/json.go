package policy

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf16"
)

type nodeKind uint8

const (
	nodeNull nodeKind = iota
	nodeBool
	nodeNumber
	nodeString
	nodeArray
	nodeObject
)

// A node is a JSON value. Decoding goes by way of nodes because keys come in
// any casing, values in more than one type, and what is unknown must be found.
type node struct {
	kind nodeKind
	text string   // of strings and numbers; true, false
	keys []string // of an object, as written
	list []node   // elements, or the values of keys
}

// decodeText turns UTF-16, with or without a byte-order mark, into UTF-8 and
// takes the mark off UTF-8. JSON begins with an ASCII character, so that a zero
// among the first two bytes tells the encoding.
func decodeText(b []byte) []byte {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return b[3:]
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return decodeUTF16(b[2:], binary.LittleEndian)
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return decodeUTF16(b[2:], binary.BigEndian)
	case len(b) >= 2 && b[1] == 0 && b[0] != 0:
		return decodeUTF16(b, binary.LittleEndian)
	case len(b) >= 2 && b[0] == 0 && b[1] != 0:
		return decodeUTF16(b, binary.BigEndian)
	}
	return b
}

func decodeUTF16(b []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = order.Uint16(b[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// parseJSON reads the values of a document; there is at least one.
func parseJSON(text []byte) ([]node, error) {
	p := &jsonParser{dec: json.NewDecoder(bytes.NewReader(text)), text: text}
	p.dec.UseNumber()
	var docs []node
	for {
		n, err := p.value(0)
		if errors.Is(err, io.EOF) && len(docs) > 0 {
			return docs, nil
		}
		if err != nil {
			return nil, p.syntax(err)
		}
		docs = append(docs, n)
		p.start = p.dec.InputOffset()
	}
}

type jsonParser struct {
	dec   *json.Decoder
	text  []byte
	start int64 // of the document
}

var errDeep = fmt.Errorf("nested deeper than %d levels", maxDepth)

// syntax finds the place of an error. The decoder's own offset is that of a
// token; the checker of encoding/json knows the byte.
func (p *jsonParser) syntax(err error) error {
	offset := p.dec.InputOffset() - 1
	var s *json.SyntaxError
	var whole json.RawMessage
	switch check := json.Unmarshal(p.text[p.start:], &whole); {
	case errors.Is(err, errDeep):
	case errors.As(check, &s) && !endless(s):
		offset, err = p.start+s.Offset-1, s
	default:
		offset, err = int64(len(p.text)), errors.New("unexpected end of JSON input")
	}
	before := p.text[:max(0, min(offset, int64(len(p.text))))]
	return &SyntaxError{
		Line:   bytes.Count(before, []byte("\n")) + 1,
		Column: len(before) - bytes.LastIndexByte(before, '\n'),
		Err:    err,
	}
}

// endless says whether the input ended too early.
func endless(err *json.SyntaxError) bool { return strings.Contains(err.Error(), "unexpected end") }

func (p *jsonParser) value(depth int) (n node, err error) {
	t, err := p.dec.Token()
	if err != nil {
		return n, err
	}
	switch t := t.(type) {
	case json.Delim:
		if depth >= maxDepth {
			return n, errDeep
		}
		return p.nested(t, depth+1)
	case string:
		n = node{kind: nodeString, text: t}
	case json.Number:
		n = node{kind: nodeNumber, text: t.String()}
	case bool:
		n = node{kind: nodeBool, text: fmt.Sprint(t)}
	}
	return n, nil
}

func (p *jsonParser) nested(open json.Delim, depth int) (n node, err error) {
	n.kind = nodeArray
	if open == '{' {
		n.kind = nodeObject
	}
	for p.dec.More() {
		if n.kind == nodeObject {
			key, err := p.dec.Token()
			if err != nil {
				return n, err
			}
			n.keys = append(n.keys, key.(string))
		}
		v, err := p.value(depth)
		if err != nil {
			return n, noEOF(err)
		}
		n.list = append(n.list, v)
	}
	_, err = p.dec.Token()
	return n, noEOF(err)
}

// noEOF keeps an end inside a value from looking like the end of a document.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// annotation says whether a key is metadata of OData.
func annotation(key string) bool {
	return strings.ContainsRune(key, '@') || strings.HasPrefix(key, "#")
}

var noNode = &node{}

// get returns the value of a key in any casing; an absent one is null. When a
// key is there in several casings the exact one counts.
func (n *node) get(key string) *node {
	found := noNode
	for i, k := range n.keys {
		if k == key {
			return &n.list[i]
		}
		if found == noNode && equalASCII(k, key) {
			found = &n.list[i]
		}
	}
	return found
}

func (n *node) has(key string) bool { return n.get(key) != noNode }

// annotation returns @odata.name of an object, "" without one.
func (n *node) annotation(name string) string { return n.get("@odata." + name).text }

// empty says whether a value configures nothing: null, "", [], {}, and what
// consists only of such.
func (n *node) empty() bool {
	switch n.kind {
	case nodeNull:
		return true
	case nodeString:
		return n.text == ""
	case nodeArray, nodeObject:
		for i := range n.list {
			if !(n.kind == nodeObject && annotation(n.keys[i])) && !n.list[i].empty() {
				return false
			}
		}
		return true
	}
	return false
}

func (n *node) hasObjects() bool {
	for i := range n.list {
		if n.list[i].kind == nodeObject || n.list[i].kind == nodeArray {
			return true
		}
	}
	return false
}
