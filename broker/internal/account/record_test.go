package account

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/store"
	"github.com/prtbroker/prtbroker/claims"
	"github.com/prtbroker/prtbroker/internal/aadsts"
	"github.com/prtbroker/prtbroker/prt"
)

// The strongest PRT comes first, one that looks expired last, a dead one never.
func TestRanked(t *testing.T) {
	t.Parallel()
	mfa := func(e PRT, a claims.Answer, at time.Time) PRT {
		e.Token.Evidence = claims.Evidence{MFA: a, At: at}
		return e
	}
	old := mfa(bornOf("old"), claims.Yes, noon)
	old.Token.ExpiresAt = noon.Add(-time.Hour)
	dead := mfa(bornOf("dead"), claims.Yes, noon)
	dead.Dead = &Death{Code: 50173, At: noon}
	r := &Record{PRTs: []PRT{
		old, dead,
		mfa(bornOf("none"), claims.No, time.Time{}),
		mfa(bornOf("unknown"), claims.Unknown, time.Time{}),
		mfa(bornOf("earlier"), claims.Yes, noon.Add(-2*time.Hour)),
		mfa(bornOf("later"), claims.Yes, noon.Add(-time.Hour)),
	}}
	var order []string
	for _, e := range r.Ranked(noon) {
		order = append(order, string(e.Token.Credential))
	}
	require.Equal(t, []string{"later", "earlier", "unknown", "none", "old"}, order)
	require.Equal(t, 50173, r.LastDeath().Code)
	require.Nil(t, (&Record{}).LastDeath())
}

// What is remembered of the PRTs in use is forgotten when one of them comes, goes or
// is renewed, and a dead one is not in use.
func TestGeneration(t *testing.T) {
	t.Parallel()
	dead := bornOf(prt.ByPassword)
	dead.Dead = &Death{Code: 50173, At: noon}
	renewed := bornOf(prt.ByHello)
	renewed.Token.PRT = prt.NewSecret("0.renewed")
	hello, password := bornOf(prt.ByHello), bornOf(prt.ByPassword)
	require.Zero(t, (&Record{}).Generation())
	require.Zero(t, (&Record{PRTs: []PRT{dead}}).Generation())
	seen := map[Generation]string{}
	for name, prts := range map[string][]PRT{"one": {hello}, "another": {password}, "both": {hello, password}, "renewed": {renewed}} {
		g := (&Record{PRTs: prts}).Generation()
		require.NotZero(t, g, name)
		require.Empty(t, seen[g], name)
		seen[g] = name
	}
	require.Equal(t, (&Record{PRTs: []PRT{hello}}).Generation(), (&Record{PRTs: []PRT{dead, hello}}).Generation())
}

// Everything of a record survives the store, and an update changes no record
// that somebody holds.
func TestRecordRoundTrip(t *testing.T) {
	t.Parallel()
	keys, s, ctx := testKeys(t), &store.Memory{}, t.Context()
	a, err := openBook(t, keys, s, "").Put(ctx, person("alice"), func(r *Record) error {
		e := bornOf(prt.ByPassword)
		e.Previous, e.Dead, e.Origin = bornOf(prt.ByPassword).Token, &Death{Verdict: aadsts.Expired, Code: 70008, At: noon}, DeviceCode
		r.Set(e)
		r.Set(bornOf(prt.ByHello))
		r.Hello = &Hello{Key: []byte("blob"), ID: "id", Created: noon, Wrong: 2, WrongAt: noon, Refused: &Death{Code: 50057, At: noon}}
		return nil
	})
	require.NoError(t, err)
	before := a.Record()
	_, again, err := openBook(t, keys, s, "").Find(ctx, Identity{})
	require.NoError(t, err)
	require.Equal(t, before, again)

	_, err = a.Update(ctx, func(r *Record) error { r.DropHello(); return nil })
	require.NoError(t, err)
	require.NotNil(t, before.Hello)
	require.Len(t, before.PRTs, 2)
	require.Nil(t, a.Record().Hello)
	require.Nil(t, a.Record().PRT(prt.ByHello), "what the Hello key gave goes with it")
	require.NotNil(t, a.Record().PRT(prt.ByPassword))
	boom := errors.New("boom")
	_, err = a.Update(ctx, func(*Record) error { return boom })
	require.ErrorIs(t, err, boom)
}

// Why an account has no PRT to use: the last one died, the account is locked, or
// there never was one.
func TestOver(t *testing.T) {
	t.Parallel()
	dead := func(code int, at time.Time) PRT {
		e := bornOf(prt.ByPassword)
		e.Dead = &Death{Code: code, At: at}
		return e
	}
	require.ErrorIs(t, (&Record{}).Over(), ErrNoPRT)
	require.ErrorIs(t, (&Record{Away: []byte("PRTs")}).Over(), ErrLocked)
	r := &Record{PRTs: []PRT{dead(50173, noon), dead(50057, noon.Add(time.Hour)), dead(70008, noon.Add(time.Minute))}}
	require.EqualError(t, r.Over(), "broker: the PRT is no longer valid (AADSTS50057)")
}
