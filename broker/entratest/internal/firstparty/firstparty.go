// Package firstparty knows which of Microsoft's own clients may use which
// redirect, resource and scope, as far as that has been published.
//
// Entra keeps this as an internal matrix of preauthorisations and publishes no part
// of it. ROADtools has tested it client by client and publishes the results;
// matrix.txt holds those facts. What the list does not mention is unknown, which is
// not the same as refused: Client.Scopes tells the two apart.
package firstparty

import (
	_ "embed"
	"strconv"
	"strings"
	"sync"
)

//go:generate sh -c "pip download --quiet --no-deps --dest .wheel roadtx==1.22.1 && go run ./generate .wheel/roadtx-*.whl > matrix.txt && rm -r .wheel"

// matrix has one fact a line:
//
//	resource ID URI…              numbered from 0 in the order of the lines
//	client ID FLAGS NAME          p: public client, f: of the family; - for neither
//	redirect URI                  of the client above
//	grant RESOURCE…: SCOPE…       the scopes of each of these resources, of the client above
//
//go:embed matrix.txt
var matrix string

// Client is a Microsoft client in the list.
type Client struct {
	ID        string // app id, lower case
	Name      string
	Public    bool // has no secret
	Family    bool // shares refresh tokens with the family of client ids (FOCI)
	Redirects []string

	grants []grant
}

// grant is a line split in two but not parsed further: a test that signs in with one
// client need not parse the lines of all clients.
type grant struct {
	resources string // numbers, each with a space on both sides
	scopes    string
}

type table struct {
	clients   map[string]*Client
	resources map[string]int    // app id to number
	uris      map[string]string // identifier URI, without a slash at the end, to app id
}

// parsed returns the matrix, parsed on first use. It must not be modified.
var parsed = sync.OnceValue(func() table { return parse(matrix) })

// Lookup returns the client with an app id, or nil if the list has none.
func Lookup(id string) *Client { return parsed().clients[strings.ToLower(id)] }

// Resource returns the app id of the resource that a URI or an app id names.
func Resource(uri string) (id string, ok bool) {
	uri = strings.ToLower(strings.TrimRight(uri, "/"))
	if _, ok := parsed().resources[uri]; ok {
		return uri, true
	}
	id, ok = parsed().uris[uri]
	return id, ok
}

// Scopes returns the scopes of a resource, named by its app id, that the client
// has without consent. They are known if ROADtools tested the resource; known and
// empty means that Entra refuses the pair (AADSTS65002).
func (c *Client) Scopes(resource string) (scopes []string, known bool) {
	n, known := parsed().resources[strings.ToLower(resource)]
	if !known {
		return nil, false
	}
	number := " " + strconv.Itoa(n) + " "
	for _, g := range c.grants {
		if strings.Contains(g.resources, number) {
			return strings.Fields(g.scopes), true
		}
	}
	return nil, true
}

func parse(text string) table {
	t := table{clients: map[string]*Client{}, resources: map[string]int{}, uris: map[string]string{}}
	var c *Client
	for line := range strings.Lines(text) {
		kind, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch kind {
		case "resource":
			t.addResource(strings.Fields(rest))
		case "client":
			c = newClient(rest)
			t.clients[c.ID] = c
		case "redirect":
			c.Redirects = append(c.Redirects, rest)
		case "grant":
			resources, scopes, _ := strings.Cut(rest, ": ")
			c.grants = append(c.grants, grant{" " + resources + " ", scopes})
		}
	}
	return t
}

func (t *table) addResource(words []string) {
	t.resources[words[0]] = len(t.resources)
	for _, uri := range words[1:] {
		t.uris[strings.ToLower(strings.TrimRight(uri, "/"))] = words[0]
	}
}

func newClient(line string) *Client {
	id, rest, _ := strings.Cut(line, " ")
	flags, name, _ := strings.Cut(rest, " ")
	return &Client{
		ID: id, Name: name,
		Public: strings.Contains(flags, "p"), Family: strings.Contains(flags, "f"),
	}
}
