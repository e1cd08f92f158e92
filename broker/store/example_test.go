package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/prtbroker/prtbroker/broker/store"
)

// State in a directory that several apps of a user share.
func ExampleNewFile() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := store.NewFile(filepath.Join(dir, "broker"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	v, err := st.Put(ctx, "note", []byte("one"), 0)
	if err != nil {
		log.Fatal(err)
	}
	_, err = st.Put(ctx, "note", []byte("two"), 0)
	fmt.Println(errors.Is(err, store.ErrConflict))
	_, err = st.Put(ctx, "note", []byte("two"), v)
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// The state of a user in a field of the program's own JSON. The program writes the
// file at each change, as here, or keeps Bytes when its broker is closed.
func ExampleNewBlob() {
	type user struct {
		Name   string `json:"name"`
		Broker []byte `json:"broker"` // base64 in the file
	}
	var file []byte // stands for alice.json
	use := func(f func(*store.Blob)) {
		u := user{Name: "alice"}
		if file != nil {
			if err := json.Unmarshal(file, &u); err != nil {
				log.Fatal(err)
			}
		}
		s, err := store.NewBlob(u.Broker, func(_ context.Context, value []byte) (err error) {
			u.Broker = value
			file, err = json.Marshal(u) // a program writes to a temporary file and renames it
			return err
		})
		if err != nil {
			log.Fatal(err) // store.ErrDamaged
		}
		f(s) // broker.New(ctx, broker.Config{Store: s, …})
	}

	ctx := context.Background()
	use(func(s *store.Blob) {
		if _, err := s.Put(ctx, "note", []byte("sealed by the broker"), 0); err != nil {
			log.Fatal(err)
		}
	})
	use(func(s *store.Blob) { // the next process
		data, _, err := s.Get(ctx, "note")
		fmt.Println(string(data), err)
	})
	// Output: sealed by the broker <nil>
}
