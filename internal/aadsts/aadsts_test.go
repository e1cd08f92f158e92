package aadsts_test

import (
	"bufio"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	. "github.com/prtbroker/prtbroker/internal/aadsts"
)

// verdicts lists, for an action of testdata/actions.tsv, what may implement
// it. The first is the rule; the others are finer and must be named below.
var verdicts = map[string][]Verdict{
	"F":     {Fail, AppConfig},
	"R":     {Retry, Throttled},
	"T":     {Throttled},
	"N":     {NewNonce},
	"MFA":   {StepUp, StaleMFA},
	"UI":    {Interact, StaleMFA},
	"CR":    {BadCredential, UserNotFound},
	"RA":    {SignInAgain, Expired},
	"RR":    {DeviceGone, DeviceAuth},
	"DEV":   {DeviceNotRegistered, DeviceAuth},
	"HP":    {HelloKey},
	"B":     {Blocked, UserDisabled, AccountLocked, DeviceDisabled, DeviceNotCompliant},
	"P":     {Pending},
	"X":     {Restart},
	"CLOUD": {SwitchCloud},
}

// exceptions are rows on which the table differs from the list, and why.
var exceptions = map[int]Verdict{
	65004: Declined, // blocked, because the user said no
	80012: Blocked,  // logon hours do not pass by retrying
}

func TestEveryRowHasItsAction(t *testing.T) {
	rows := actions(t)
	require.Greater(t, len(rows), 230)
	for code, action := range rows {
		e, ok := Lookup(code)
		require.Truef(t, ok, "%d is not in the table", code)
		if want, ok := exceptions[code]; ok {
			require.Equalf(t, want, e.Verdict, "%d", code)
			continue
		}
		require.Containsf(t, verdicts[action], e.Verdict, "%d: action %s", code, action)
	}
	for _, e := range All() {
		if e.Code == 1400001 || e.Code == 130504 {
			continue // reported in the field, not in the list
		}
		require.Containsf(t, rows, e.Code, "%d is not in the list", e.Code)
	}
}

// Verdicts that callers rely on, each by its code.
func TestVerdicts(t *testing.T) {
	for _, tt := range []struct {
		code int
		want Verdict
	}{
		{50011, AppConfig}, {7000218, AppConfig}, {65002, AppConfig}, {65001, Interact}, {90002, AppConfig},
		{50034, UserNotFound}, {50053, AccountLocked}, {50057, UserDisabled}, {50126, BadCredential},
		{50076, StepUp}, {50074, StepUp}, {50078, StaleMFA}, {70043, StaleMFA}, {50079, Interact},
		{50132, SignInAgain}, {50133, SignInAgain}, {50173, SignInAgain}, {70008, Expired}, {700082, Expired}, {130504, Expired},
		{50155, DeviceAuth}, {135011, DeviceDisabled}, {130007, DeviceDisabled}, {700003, DeviceGone}, {135010, DeviceAuth},
		{53000, DeviceNotCompliant}, {53001, DeviceNotCompliant}, {53003, Blocked}, {50105, Blocked},
		{140000, NewNonce}, {140001, SignInAgain}, {7000016, Fail}, {90055, Throttled}, {50196, Throttled},
		// Codes that fell to a wrong verdict by their OAuth error alone.
		{530084, Blocked}, {500571, UserDisabled}, {500341, UserNotFound}, {500212, Blocked}, {500213, Blocked}, {500208, Blocked},
		{530004, Blocked}, {70044, StaleMFA}, {90093, Blocked}, {51000, AppConfig}, {5000611, Fail}, {900439, SwitchCloud},
		{500112, AppConfig}, {500113, AppConfig}, {9002326, AppConfig}, {9002327, AppConfig}, {50177, Interact}, {50178, Interact},
		{130502, BadCredential}, {130503, BadCredential}, {500172, BadCredential}, {500183, BadCredential}, {1001003, BadCredential},
		{70016, Pending}, {70019, Restart}, {54005, Restart}, {90038, SwitchCloud}, {130004, HelloKey},
	} {
		e, ok := Lookup(tt.code)
		require.True(t, ok)
		require.Equalf(t, tt.want, e.Verdict, "%d", tt.code)
	}
}

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		name           string
		codes          []int
		oauth, sub     string
		want, wantCode int
	}{
		{"code before suberror", []int{135011}, "invalid_grant", "device_authentication_failed", int(DeviceDisabled), 135011},
		{"first known code", []int{99999999, 50076}, "invalid_grant", "", int(StepUp), 50076},
		{"suberror before error", []int{99999999}, "invalid_grant", "bad_token", int(SignInAgain), 0},
		{"unknown grant asks the user", []int{99999999}, "invalid_grant", "", int(Interact), 0},
		{"unknown interaction", nil, "interaction_required", "who_knows", int(Interact), 0},
		{"server trouble", nil, "temporarily_unavailable", "", int(Retry), 0},
		{"the user declined a device code", nil, "authorization_declined", "", int(Declined), 0},
		{"unknown error", nil, "surprise", "", int(Fail), 0},
		{"nothing", nil, "", "", int(None), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := Classify(tt.codes, tt.oauth, tt.sub)
			require.Equal(t, Verdict(tt.want), e.Verdict)
			require.Equal(t, tt.wantCode, e.Code)
			require.NotEmpty(t, e.Meaning)
		})
	}
}

func TestTable(t *testing.T) {
	all := All()
	require.True(t, slices.IsSortedFunc(all, func(a, b Entry) int { return a.Code - b.Code }))
	for i, e := range all {
		require.NotEqual(t, None, e.Verdict)
		require.NotEmpty(t, e.Error)
		require.Truef(t, e.Meaning != "" && !strings.HasSuffix(e.Meaning, "."), "%d", e.Code)
		require.NotEqual(t, "unknown verdict", e.Verdict.String())
		if i > 0 {
			require.NotEqual(t, all[i-1].Code, e.Code)
		}
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { Lookup(50076) }))
}

func actions(t *testing.T) map[int]string {
	t.Helper()
	f, err := os.Open("testdata/actions.tsv")
	require.NoError(t, err)
	defer f.Close()
	rows := map[int]string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "#") {
			continue
		}
		code, action, ok := strings.Cut(s.Text(), "\t")
		require.True(t, ok)
		n, err := strconv.Atoi(code)
		require.NoError(t, err)
		rows[n] = action
	}
	return rows
}
