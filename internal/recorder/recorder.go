package recorder

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prtbroker/prtbroker/internal/atomicfile"
)

// ErrNotEmpty is returned by [New] for a directory with files in it.
var ErrNotEmpty = errors.New("recorder: the directory is not empty")

// A Recorder collects a run. It is safe for concurrent use.
type Recorder struct {
	dir string

	mu        sync.Mutex // guards what follows
	red       *redactor
	exchanges []Exchange
	commands  []Command
	steps     []Step
	closed    bool
	catches   int
}

// A Step is what the program did and how it ended.
type Step struct {
	Name   string `json:"step"`
	Result string `json:"result"` // ok, or names of errors and AADSTS codes
	// Requests and Commands are how many were recorded when it ended.
	Requests int `json:"requests"`
	Commands int `json:"commands"`
}

const (
	stepsFile = "steps.json"
	tpmFile   = "tpm.jsonl"
	aboutFile = "README.txt"
)

const about = `This is a recorded run of prtbroker: what was asked and answered, without names,
ids, tokens, keys or any other text of yours. Placeholders such as <user 1> stand for
such texts; the same text has the same placeholder in all files.

Please read the files before you send them: only you know your names. Each NNN.json is
a request and its reply, steps.json what the program did, tpm.jsonl the commands of
the TPM by name, size, response code and time.

`

// New returns a recorder that writes to dir, which is created if it does not exist.
func New(dir string) (*Recorder, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrNotEmpty, dir)
	}
	return &Recorder{dir: dir, red: newRedactor(time.Now())}, nil
}

// Hide names texts that must not be in the recording, such as the name of this
// machine and of its tenant, so that each of them has a placeholder from the start.
func (r *Recorder) Hide(texts ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range texts {
		r.red.text(s)
	}
}

var stepWord = regexp.MustCompile(`^[A-Za-z0-9 ]{1,80}$`)

// Step notes that a part of the program ended. The result must be of letters and
// digits, such as "ok" or "ErrBadCredential AADSTS50126"; anything else is replaced.
func (r *Recorder) Step(name, result string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !stepWord.MatchString(result) {
		result = r.red.placeholder("text", result)
	}
	r.steps = append(r.steps, Step{Name: name, Result: result, Requests: len(r.exchanges), Commands: len(r.commands)})
}

// Close writes the recording. Call it also when the run failed: such runs are the most
// useful ones.
func (r *Recorder) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	files, err := r.files()
	if err != nil {
		return err
	}
	for name, content := range files {
		content = r.caught(content)
		if err := atomicfile.Write(filepath.Join(r.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recorder) files() (map[string][]byte, error) {
	files := map[string][]byte{aboutFile: []byte(about + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + "\n")}
	var err error
	for i, e := range r.exchanges {
		if files[fmt.Sprintf("%03d.json", i+1)], err = pretty(e); err != nil {
			return nil, err
		}
	}
	if files[stepsFile], err = pretty(r.steps); err != nil {
		return nil, err
	}
	var lines bytes.Buffer
	for _, c := range r.commands {
		line, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		lines.Write(append(line, '\n'))
	}
	if lines.Len() > 0 {
		files[tpmFile] = lines.Bytes()
	}
	return files, nil
}

// caught searches once more for every text that has a placeholder, in the encodings in
// which it may occur, such as in the name of a field, and puts the placeholder there.
// It does not search for short texts and for parts of the protocol's words, which
// occur everywhere.
func (r *Recorder) caught(content []byte) []byte {
	for _, s := range sortedKeys(r.red.texts) {
		if len(s) < 8 || r.red.common(strings.ToLower(s)) {
			continue
		}
		for _, form := range encodings(s) {
			at := regexp.MustCompile("(?i)" + regexp.QuoteMeta(form))
			if at.Match(content) {
				r.catches++
				content = at.ReplaceAllLiteral(content, []byte(r.red.seen[strings.ToLower(s)]))
			}
		}
	}
	return content
}

// Catches is how many texts only the final search of Close found. It is 0 unless the
// name of a field contains a text of the run, or the rules of this package have a bug.
func (r *Recorder) Catches() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.catches
}

// encodings are the texts by which s can be recognised. Of base64 three are needed,
// since it depends on what is before s, and their ends depend on what is around it.
func encodings(s string) []string {
	all := []string{s, url.QueryEscape(s), hex.EncodeToString([]byte(s))}
	for shift := range 3 {
		e := base64.RawStdEncoding.EncodeToString(append(make([]byte, shift), s...))
		if e = e[min(len(e), 4*((shift+2)/3)):]; len(e) > 6 {
			e = e[:len(e)-2]
			all = append(all, e, strings.NewReplacer("+", "-", "/", "_").Replace(e))
		}
	}
	return all
}

// common reports whether s is a part of a text that is kept.
func (v *vocabulary) common(s string) bool {
	for w := range v.words {
		if strings.Contains(strings.ToLower(w), s) {
			return true
		}
	}
	return strings.Contains(strings.ToLower(about), s)
}
