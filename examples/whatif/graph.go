package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/broker"
)

const (
	graphRoot = "https://graph.microsoft.com/v1.0"
	maxAnswer = 16 << 20 // bytes of one answer of Graph
	maxPages  = 1000     // of one list
)

// A graph reads Microsoft Graph with one token. It writes nothing there.
type graph struct {
	transport broker.Transport
	token     string
}

func newGraph(t broker.Transport, token string) *graph {
	if t == nil {
		t = &http.Client{
			Timeout:       time.Minute,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &graph{t, token}
}

// list reads all pages of a collection.
func (g *graph) list(ctx context.Context, path string) (all []json.RawMessage, err error) {
	address := graphRoot + path
	for range maxPages {
		var page struct {
			Value []json.RawMessage `json:"value"`
			Next  string            `json:"@odata.nextLink"`
		}
		if err := g.get(ctx, address, &page); err != nil {
			return nil, err
		}
		all = append(all, page.Value...)
		if page.Next == "" {
			return all, nil
		}
		// The token goes only to Graph, not to another host that a response
		// names.
		if !strings.HasPrefix(page.Next, graphRoot+"/") {
			return nil, fmt.Errorf("the next page of %s is not on Microsoft Graph", path)
		}
		address = page.Next
	}
	return nil, fmt.Errorf("%s has more than %d pages", path, maxPages)
}

func (g *graph) get(ctx context.Context, address string, answer any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	req.Header.Set("Accept", "application/json")
	res, err := g.transport.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("GET %s: %w", req.URL.Path, err)
	case len(body) > maxAnswer:
		return fmt.Errorf("GET %s: the answer is longer than %d MiB", req.URL.Path, maxAnswer>>20)
	case res.StatusCode != http.StatusOK:
		return fmt.Errorf("GET %s: %s", req.URL.Path, graphFailure(res, body))
	}
	if err := json.Unmarshal(body, answer); err != nil {
		return fmt.Errorf("GET %s: the answer is not the expected JSON", req.URL.Path)
	}
	return nil
}

func graphFailure(res *http.Response, body []byte) string {
	var answer struct {
		Error struct{ Code, Message string } `json:"error"`
	}
	text := http.StatusText(res.StatusCode)
	if json.Unmarshal(body, &answer) == nil && answer.Error.Code != "" {
		text = strings.TrimSuffix(answer.Error.Code+": "+answer.Error.Message, ".")
	}
	if after := res.Header.Get("Retry-After"); after != "" {
		text += fmt.Sprintf(" (try again after %s seconds)", after)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, text)
}

// fillIn replaces id, groups, roles and type of a persona by what the directory
// says of the user whom its id names, a user principal name or an object id.
// Workloads and agents stay as the file describes them.
func (g *graph) fillIn(ctx context.Context, p *persona) error {
	if p.Kind != "" && p.Kind != "person" {
		return nil
	}
	var user struct {
		ID   string `json:"id"`
		Type string `json:"userType"`
	}
	path := "/users/" + url.PathEscape(p.ID)
	if err := g.get(ctx, graphRoot+path+"?$select=id,userType", &user); err != nil {
		return err
	}
	if user.ID == "" {
		return errors.New("the answer of Graph has no id")
	}
	memberships, err := g.list(ctx, "/users/"+url.PathEscape(user.ID)+"/transitiveMemberOf?$top=999")
	if err != nil {
		return err
	}
	p.ID, p.Groups, p.Roles = user.ID, nil, nil
	if p.Guest == "" && strings.EqualFold(user.Type, "Guest") {
		p.Guest = "b2bCollaborationGuest"
	}
	for _, m := range memberships {
		if err := p.join(m); err != nil {
			return err
		}
	}
	slices.Sort(p.Groups)
	slices.Sort(p.Roles)
	return nil
}

// join adds a group or a role. Policies cannot name other memberships, such as
// administrative units.
func (p *persona) join(membership json.RawMessage) error {
	var m struct {
		Type string `json:"@odata.type"`
		ID   string `json:"id"`
		Role string `json:"roleTemplateId"`
	}
	if err := json.Unmarshal(membership, &m); err != nil {
		return errors.New("a membership is not the expected JSON")
	}
	switch m.Type {
	case "#microsoft.graph.group":
		p.Groups = append(p.Groups, m.ID)
	case "#microsoft.graph.directoryRole":
		if m.Role == "" {
			return fmt.Errorf("the token is not allowed to read which role %s is", m.ID)
		}
		p.Roles = append(p.Roles, m.Role)
	}
	return nil
}
