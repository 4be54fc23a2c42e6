package yamlfile

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Places tells where each key of a file stands: "store.max_size",
// "otlp[0].endpoint". What Decode would refuse has no place here or an odd one;
// it is for files that were decoded.
func Places(data []byte) (places map[string]Pos) {
	places = map[string]Pos{}
	if line, _ := tooDeep(splitLines(data)); line > 0 || len(data) > MaxSize {
		return places
	}
	defer func() { _ = recover() }() // the YAML parser on text that it did not foresee
	file, err := parser.ParseBytes(data, 0)
	if err != nil || len(file.Docs) == 0 {
		return places
	}
	place(places, file.Docs[0].Body, "", 0)
	return places
}

func place(places map[string]Pos, n ast.Node, at string, depth int) {
	if n == nil || depth > MaxDepth {
		return
	}
	if pairs, ok := pairsOf(n); ok {
		for _, p := range pairs {
			key, ok := scalar(p.Key)
			if !ok || p.Value == nil || p.Value.Type() == ast.NullType {
				continue
			}
			if at != "" {
				key = at + "." + key
			}
			pos := p.Key.GetToken().Position
			places[key] = Pos{pos.Line, pos.Column}
			place(places, p.Value, key, depth+1)
		}
		return
	}
	if seq, ok := n.(*ast.SequenceNode); ok {
		for i, item := range seq.Values {
			place(places, item, at+"["+strconv.Itoa(i)+"]", depth+1)
		}
	}
}
