package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/broker/dbus"
)

// Commands of linux-entra-sso.
const (
	getVersion   = "getVersion"
	getAccounts  = "getAccounts"
	acquireToken = "acquireTokenSilently"
	acquireSSO   = "acquirePrtSsoCookie"
	stateChanged = "brokerStateChanged"
)

// cookieLimit is how long a cookie may take: Firefox holds the page back until
// it is there.
const cookieLimit = time.Second

// callLimit is how long everything else may take.
const callLimit = 20 * time.Second

// edge is the client whose tokens linux-entra-sso asks for: Microsoft Edge,
// which has consent for Graph in every tenant.
const edge = "d7b530a4-7680-4c23-a8bf-c52c121d2e87"

// A request is a message of an extension.
type request struct {
	Command string          `json:"command"`
	Account json.RawMessage `json:"account"`
	Scopes  []string        `json:"scopes"`
	SSOURL  string          `json:"ssoUrl"`

	// Fields of BrowserCore's requests.
	Method string `json:"method"`
	URI    string `json:"uri"`
}

// A reply is a message to an extension, which matches it with the oldest request
// of the command.
type reply struct {
	Command string          `json:"command"`
	Message json.RawMessage `json:"message"`
}

// A host serves one connection of a browser.
type host struct {
	address string // of the bus; empty: the session bus
	out     *writer
	queues  map[string]chan request // a queue for each command, which keeps its order
	work    sync.WaitGroup

	mu      sync.Mutex // guards what follows
	handler *dbus.Handler
	client  *dbus.Client
}

func newHost(out io.Writer, address string) *host {
	return &host{address: address, out: &writer{out: out}, queues: map[string]chan request{}}
}

// waiting is how many requests of one command may wait.
const waiting = 64

// serve answers until the browser closes the connection.
func (h *host) serve(ctx context.Context, in io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		h.watch(ctx)
	}()
	defer func() {
		for _, q := range h.queues {
			close(q)
		}
		h.work.Wait()
		cancel()
		<-watching
		h.close()
	}()
	for {
		text, err := readFrame(in)
		if err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil
			}
			return err
		}
		var r request
		if err := json.Unmarshal(text, &r); err != nil {
			r = request{}
		}
		h.enqueue(ctx, r)
	}
}

// enqueue answers the requests of each command in their order, and those of
// different commands at once: a slow token does not delay a cookie.
func (h *host) enqueue(ctx context.Context, r request) {
	name := r.Command + "\x00" + r.Method
	switch {
	case r.Command == getVersion, r.Command == getAccounts, r.Command == acquireToken, r.Command == acquireSSO, r.Method == "GetCookies":
	default:
		name = "" // all unknown commands share a queue
	}
	q, ok := h.queues[name]
	if !ok {
		q = make(chan request, waiting)
		h.queues[name] = q
		h.work.Go(func() {
			for r := range q {
				h.put(h.answer(ctx, r))
			}
		})
	}
	q <- r
}

// put writes a message. A browser that no longer reads closes the connection,
// which ends the host.
func (h *host) put(v any) {
	if err := h.out.write(v); err != nil {
		fmt.Fprintln(os.Stderr, "nativehost:", err)
	}
}

func (h *host) answer(ctx context.Context, r request) any {
	if r.Method != "" {
		return h.browserCore(ctx, r)
	}
	text, err := h.message(ctx, r)
	if err != nil {
		text = failure(err)
	}
	return reply{r.Command, text}
}

// failure returns an error as the extension reads it: an object whose members it
// shows.
func failure(err error) json.RawMessage {
	text, merr := json.Marshal(map[string]any{"error": map[string]any{"context": err.Error(), "status": 0, "subStatus": 0, "errorCode": 0, "tag": 1, "diagnostics": nil}})
	if merr != nil {
		return json.RawMessage(`{"error":{}}`)
	}
	return text
}

var errCommand = errors.New("nativehost: the message has no command that this host knows")

// message asks the broker and returns its JSON.
func (h *host) message(ctx context.Context, r request) (json.RawMessage, error) {
	method, limit := r.Command, callLimit
	var body any
	switch r.Command {
	case getVersion:
		method, body = "getLinuxBrokerVersion", map[string]any{"msalCppVersion": version()}
	case getAccounts:
		body = map[string]any{"clientId": edge, "redirectUri": edge}
	case acquireToken:
		if len(r.Scopes) == 0 {
			r.Scopes = []string{"https://graph.microsoft.com/.default"}
		}
		body = map[string]any{"authParameters": parameters(r, 1)}
	case acquireSSO:
		limit = cookieLimit
		body = map[string]any{"account": r.Account, "authParameters": parameters(r, 8), "mamEnrollment": false, "ssoUrl": r.SSOURL}
	default:
		return nil, errCommand
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	handler, err := h.broker(ctx)
	if err != nil {
		return nil, err
	}
	out := json.RawMessage(handler.Handle(ctx, self(), method, "0.0", "", string(text)))
	if r.Command == getVersion {
		return h.withVersion(ctx, out)
	}
	return out, nil
}

func parameters(r request, kind int) map[string]any {
	return map[string]any{
		"account": r.Account, "additionalQueryParametersForAuthorization": map[string]string{},
		"authority": "https://login.microsoftonline.com/common", "authorizationType": kind, "clientId": edge,
		"redirectUri": "https://login.microsoftonline.com/common/oauth2/nativeclient", "requestedScopes": r.Scopes,
		"uxContextHandle": -1, "ssoUrl": r.SSOURL,
	}
}

// withVersion adds the versions of the broker on the bus and of this host.
func (h *host) withVersion(ctx context.Context, out json.RawMessage) (json.RawMessage, error) {
	h.mu.Lock()
	client := h.client
	h.mu.Unlock()
	v := map[string]any{}
	if err := json.Unmarshal(out, &v); err != nil || v["error"] != nil {
		return out, nil
	}
	if name, err := client.Version(ctx); err == nil {
		v["linuxBrokerVersion"] = name
	}
	v["native"] = version()
	return json.Marshal(v)
}

// version returns the version of this program, as the Go module knows it.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return "prtbroker " + info.Main.Version
	}
	return "prtbroker"
}

func self() dbus.Caller {
	return dbus.Caller{UID: uint32(os.Getuid()), PID: uint32(os.Getpid()), Name: "nativehost"}
}

// broker returns the handler over the broker on the bus, which is dialed when it
// is first needed. The bus starts a broker that it knows how to start.
func (h *host) broker(ctx context.Context) (*dbus.Handler, error) {
	h.mu.Lock()
	handler := h.handler
	h.mu.Unlock()
	if handler != nil {
		return handler, nil
	}
	c, err := dbus.Dial(ctx, dbus.Options{Address: h.address})
	if err != nil {
		return nil, fmt.Errorf("nativehost: %w", err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.handler != nil {
		_ = c.Close()
		return h.handler, nil
	}
	h.client, h.handler = c, &dbus.Handler{Broker: dbus.OwnUser(c)}
	return h.handler, nil
}

func (h *host) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.client != nil {
		_ = h.client.Close()
	}
}
