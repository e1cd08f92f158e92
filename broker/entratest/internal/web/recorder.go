package web

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// Recorder keeps a reply in memory.
type Recorder struct {
	header http.Header
	Status int
	Body   bytes.Buffer
}

// NewRecorder returns an empty recorder.
func NewRecorder() *Recorder { return &Recorder{header: http.Header{}} }

// Header makes the recorder an [http.ResponseWriter].
func (w *Recorder) Header() http.Header { return w.header }

// WriteHeader keeps the first status.
func (w *Recorder) WriteHeader(status int) {
	if w.Status == 0 {
		w.Status = status
	}
}

// Write keeps the body.
func (w *Recorder) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.Body.Write(p)
}

// Serve runs the handler. It returns io.ErrUnexpectedEOF for an aborted reply, as for
// a broken connection.
func (w *Recorder) Serve(h http.Handler, r *http.Request) (err error) {
	defer func() {
		switch v := recover(); v {
		case nil:
		case http.ErrAbortHandler:
			err = io.ErrUnexpectedEOF
		default:
			panic(v)
		}
	}()
	h.ServeHTTP(w, r)
	return nil
}

// Response returns the reply; err is the result of Serve.
func (w *Recorder) Response(req *http.Request, err error) (*http.Response, error) {
	if err != nil && w.Status == 0 {
		return nil, err
	}
	var body io.Reader = bytes.NewReader(w.Body.Bytes())
	if err != nil {
		body = io.MultiReader(body, brokenReader{err})
	}
	w.WriteHeader(http.StatusOK)
	length := int64(w.Body.Len())
	if text := w.header.Get("Content-Length"); text != "" {
		if n, perr := strconv.ParseInt(text, 10, 64); perr == nil {
			length = n
		}
	}
	return &http.Response{
		Status:        strconv.Itoa(w.Status) + " " + http.StatusText(w.Status),
		StatusCode:    w.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        w.header,
		Body:          io.NopCloser(body),
		ContentLength: length,
		Request:       req,
	}, nil
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }
