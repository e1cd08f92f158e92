package main

import (
	"encoding/xml"
	"fmt"
)

// The JUnit form: a test case for each sign-in of a matrix, or for each change
// of a permutation, and one for each file that could not be read.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string       `xml:"classname,attr"`
		Name    string       `xml:"name,attr"`
		Time    string       `xml:"time,attr"`
		Error   *junitDetail `xml:"error,omitempty"`
		Failure *junitDetail `xml:"failure,omitempty"`
		Output  string       `xml:"system-out,omitempty"`
	}
	junitDetail struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr"`
		Text    string `xml:",chardata"`
	}
)

func (d *difference) junit(cfg diffConfig) ([]byte, error) {
	suite := junitSuite{Name: "Conditional Access: " + d.Old + " to " + d.New, Time: "0"}
	for _, f := range d.unreadable() {
		suite.Cases = append(suite.Cases, junitCase{Class: "export", Name: f, Time: "0", Error: &junitDetail{"the file could not be read", "unreadable", f}})
		suite.Errors++
	}
	for _, x := range d.trials {
		c := junitCase{Class: x.who, Name: x.what, Time: "0"}
		switch {
		case x.change != nil && cfg.fails(x.change):
			c.Failure = &junitDetail{x.change.text(), x.change.Kind, x.change.subject() + "\n" + x.change.text()}
			suite.Failures++
		case x.change != nil:
			c.Output = x.change.Kind + ": " + x.change.text()
		}
		suite.Cases = append(suite.Cases, c)
	}
	if d.permuted {
		suite.Cases = append(suite.Cases, junitCase{Class: "permutation", Name: fmt.Sprintf("the rest of %d combinations", d.Judged), Time: "0"})
	}
	suite.Tests = len(suite.Cases)
	b, err := xml.MarshalIndent(junitSuites{
		Name: "whatif diff", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Suites: []junitSuite{suite},
	}, "", "  ")
	return append([]byte(xml.Header), append(b, '\n')...), err
}
