package why

import (
	"fmt"
	"strings"
	"time"

	"github.com/prtbroker/prtbroker/internal/aadsts"
)

// String returns the explanation as text: the answer, the chain of facts and
// the policies that apply.
func (e Explanation) String() string {
	var s strings.Builder
	subject := "The user"
	if e.Username != "" {
		subject = e.Username
	}
	switch e.Verdict {
	case Silent:
		fmt.Fprintf(&s, "%s is not asked, because %s.\n", subject, e.Because)
	case Asked:
		fmt.Fprintf(&s, "%s is asked, because %s.\n", subject, e.Because)
	case Refused:
		fmt.Fprintf(&s, "%s gets no token, because %s.\n", subject, e.Because)
	default:
		fmt.Fprintf(&s, "It is not known whether %s is asked: %s.\n", subject, e.Because)
	}
	fmt.Fprintf(&s, "App %s, resource %s.\n", e.ClientID, e.Resource)
	for _, f := range e.Chain {
		fmt.Fprintf(&s, "  %-34s %s", f.Question, f.Answer)
		if f.Detail != "" {
			s.WriteString(": " + f.Detail)
		}
		s.WriteString("\n")
	}
	for _, p := range e.Policies {
		s.WriteString("  Policy “" + p.Name + "” applies")
		if p.ReportOnly {
			s.WriteString(" (report-only: it asks nothing)")
		}
		if len(p.Asks) > 0 {
			s.WriteString(", asks for " + strings.Join(p.Asks, ", "))
		}
		switch {
		case len(p.Missing) > 0:
			s.WriteString("; missing: " + strings.Join(p.Missing, ", "))
		case len(p.Asks) > 0:
			s.WriteString("; the PRT satisfies it")
		}
		s.WriteString(".\n")
	}
	if d := e.Last; d != nil {
		fmt.Fprintf(&s, "  Last request, %s: %s", stamp(d.Time), d.Outcome)
		if d.Code != 0 {
			fmt.Fprintf(&s, ", AADSTS%d", d.Code)
		}
		if d.CorrelationID != "" {
			s.WriteString(", correlation id " + aadsts.Clean(d.CorrelationID))
		}
		s.WriteString(".\n")
	}
	return s.String()
}

func stamp(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02 15:04:05.000 UTC")
}
