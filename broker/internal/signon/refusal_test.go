package signon

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/prtbroker/prtbroker/broker/internal/account"
	"github.com/prtbroker/prtbroker/broker/internal/sts"
	"github.com/prtbroker/prtbroker/internal/aadsts"
)

var noon = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func said(v aadsts.Verdict, at time.Time) *account.Death { return &account.Death{Verdict: v, At: at} }

// AADSTS50155 is generic: only the second one counts, ten minutes after the first. What
// takes more to take back stays, and a device that was just restored is not judged.
func TestRefuse(t *testing.T) {
	t.Parallel()
	const ten = 10 * time.Minute
	for name, tt := range map[string]struct {
		before  account.Hello
		note    *account.Death
		refused aadsts.Verdict // afterwards
		doubt   time.Time      // afterwards
		changed bool
	}{
		"a disabled device":                   {account.Hello{}, said(aadsts.DeviceDisabled, noon), aadsts.DeviceDisabled, time.Time{}, true},
		"a device that is gone":               {account.Hello{}, said(aadsts.DeviceGone, noon), aadsts.DeviceGone, time.Time{}, true},
		"a key that is gone":                  {account.Hello{}, said(aadsts.HelloKey, noon), aadsts.HelloKey, time.Time{}, true},
		"a doubt":                             {account.Hello{}, said(aadsts.DeviceAuth, noon), 0, noon, true},
		"the second doubt, too soon":          {account.Hello{Doubt: said(aadsts.DeviceAuth, noon)}, said(aadsts.DeviceAuth, noon.Add(ten-1)), 0, noon, false},
		"the second doubt":                    {account.Hello{Doubt: said(aadsts.DeviceAuth, noon)}, said(aadsts.DeviceAuth, noon.Add(ten)), aadsts.DeviceAuth, time.Time{}, true},
		"a doubt after the clock was set":     {account.Hello{Doubt: said(aadsts.DeviceAuth, noon.Add(time.Hour))}, said(aadsts.DeviceAuth, noon), 0, noon, true},
		"a doubt where it is certain":         {account.Hello{Refused: said(aadsts.DeviceGone, noon)}, said(aadsts.DeviceAuth, noon.Add(ten)), aadsts.DeviceGone, time.Time{}, false},
		"certain where there was a doubt":     {account.Hello{Doubt: said(aadsts.DeviceAuth, noon)}, said(aadsts.DeviceGone, noon), aadsts.DeviceGone, time.Time{}, true},
		"the newest of two alike":             {account.Hello{Refused: said(aadsts.DeviceGone, noon)}, said(aadsts.DeviceDisabled, noon), aadsts.DeviceDisabled, time.Time{}, true},
		"just restored":                       {account.Hello{Restored: noon}, said(aadsts.DeviceGone, noon.Add(ten-1)), 0, time.Time{}, false},
		"just restored, by another clock":     {account.Hello{Restored: noon.Add(ten - 1)}, said(aadsts.DeviceGone, noon), 0, time.Time{}, false},
		"restored":                            {account.Hello{Restored: noon}, said(aadsts.DeviceGone, noon.Add(ten)), aadsts.DeviceGone, time.Time{}, true},
		"the key, on a restored device":       {account.Hello{Restored: noon}, said(aadsts.HelloKey, noon), aadsts.HelloKey, time.Time{}, true},
		"the device, where the key is gone":   {account.Hello{Refused: said(aadsts.HelloKey, noon)}, said(aadsts.DeviceGone, noon), aadsts.HelloKey, time.Time{}, false},
		"the device, where the user is":       {account.Hello{Refused: said(aadsts.UserDisabled, noon)}, said(aadsts.DeviceGone, noon), aadsts.UserDisabled, time.Time{}, false},
		"the user, where the device is gone":  {account.Hello{Refused: said(aadsts.DeviceGone, noon)}, said(aadsts.UserDisabled, noon), aadsts.UserDisabled, time.Time{}, true},
		"the user, where the key is gone":     {account.Hello{Refused: said(aadsts.HelloKey, noon)}, said(aadsts.UserDisabled, noon), aadsts.HelloKey, time.Time{}, false},
		"the key, where the user is disabled": {account.Hello{Refused: said(aadsts.UserDisabled, noon)}, said(aadsts.HelloKey, noon), aadsts.HelloKey, time.Time{}, true},
	} {
		h := tt.before
		require.Equal(t, tt.changed, refuse(tt.note)(&h), name)
		var refused aadsts.Verdict
		if h.Refused != nil {
			refused = h.Refused.Verdict
		}
		require.Equal(t, tt.refused, refused, name)
		require.Equal(t, tt.doubt.IsZero(), h.Doubt == nil, name)
		if h.Doubt != nil {
			require.Equal(t, tt.doubt, h.Doubt.At, name)
		}
	}
}

// An answer that serves the account ends every doubt and the refusals that it takes
// back; of the device it says when.
func TestPardon(t *testing.T) {
	t.Parallel()
	e := &Engine{cfg: Config{Now: func() time.Time { return noon }}}
	for name, tt := range map[string]struct {
		before, after account.Hello
		takesBack     bool
		changed       bool
	}{
		"nothing":              {account.Hello{}, account.Hello{}, true, false},
		"a doubt":              {account.Hello{Doubt: said(aadsts.DeviceAuth, noon)}, account.Hello{}, false, true},
		"a refused user":       {account.Hello{Refused: said(aadsts.UserDisabled, noon)}, account.Hello{}, true, true},
		"a refused device":     {account.Hello{Refused: said(aadsts.DeviceGone, noon)}, account.Hello{Restored: noon}, true, true},
		"refused as it stands": {account.Hello{Refused: said(aadsts.HelloKey, noon)}, account.Hello{Refused: said(aadsts.HelloKey, noon)}, false, false},
	} {
		h := tt.before
		require.Equal(t, tt.changed, e.pardon(func(aadsts.Verdict) bool { return tt.takesBack })(&h), name)
		require.Equal(t, tt.after, h, name)
	}
}

// A reply for another resource is refused, unless the two cannot be compared.
func TestSameResource(t *testing.T) {
	t.Parallel()
	const graph, id = "https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"
	for _, tt := range []struct {
		asked, got string
		want       bool
	}{
		{graph, graph, true},
		{graph, graph + "/", true},
		{graph + "/", "HTTPS://graph.microsoft.com", true},
		{graph, "https://vault.azure.net", false},
		{graph, "", true},
		{"", graph, true},
		{graph, id, true},
		{id, graph, true},
		{id, "00000003-0000-0000-C000-000000000000", true},
		{id, "00000002-0000-0000-c000-000000000000", false},
		{"", "", true},
	} {
		require.Equal(t, tt.want, sameResource(tt.asked, tt.got), "%q %q", tt.asked, tt.got)
	}
}

// Another PRT is tried where one was refused for what it lacks, and only there.
func TestLacking(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"locked":             {fmt.Errorf("alice: %w", account.ErrLocked), true},
		"no PRT":             {fmt.Errorf("alice: %w", account.ErrNoPRT), true},
		"the user is needed": {&sts.Error{Said: true, Verdict: aadsts.StepUp}, true},
		"blocked":            {&sts.Error{Said: true, Verdict: aadsts.Blocked, Code: blockedByPolicy}, true},
		"a busy service":     {&sts.Error{Said: true, Verdict: aadsts.Retry}, false},
		"anything else":      {errors.New("lost"), false},
		"nothing":            {nil, false},
	} {
		require.Equal(t, tt.want, lacking(tt.err), name)
	}
}

// A policy that blocks what began with a device code may let in a sign-in on a page.
func TestUnblocked(t *testing.T) {
	t.Parallel()
	code := Refused{PRT: account.PRT{Origin: account.DeviceCode}}
	blocked := &sts.Error{Said: true, Verdict: aadsts.Blocked, Code: blockedByPolicy}
	for name, tt := range map[string]struct {
		err     error
		refused []Refused
		want    aadsts.Verdict
	}{
		"a policy":                  {blocked, []Refused{code}, aadsts.Interact},
		"a policy about the device": {&sts.Error{Said: true, Verdict: aadsts.DeviceNotCompliant, Code: 53000}, []Refused{code, code}, aadsts.Interact},
		"another origin":            {blocked, []Refused{code, {}}, aadsts.Blocked},
		"another block":             {&sts.Error{Said: true, Verdict: aadsts.Blocked, Code: 53004}, []Refused{code}, aadsts.Blocked},
		"not a block":               {&sts.Error{Said: true, Verdict: aadsts.StepUp, Code: 50076}, []Refused{code}, aadsts.StepUp},
		"no word of the service's":  {errors.New("lost"), []Refused{code}, aadsts.None},
	} {
		err := unblocked(tt.err, tt.refused)
		require.Equal(t, tt.want, verdict(err), name)
	}
	require.Equal(t, aadsts.Blocked, blocked.Verdict, "the refusal itself is not changed")
}
