package contract

import (
	"slices"
	"strings"
	"testing"
)

const valid = `{"name":"n","workflow":{"yaml":"document: {}"},"input":{"a":1,"b":[1.0,2]},"labels":{"x":"y"}}`

func pointers(problems []Problem) (all []string) {
	for _, p := range problems {
		all = append(all, p.Pointer)
	}
	return all
}

func TestEveryErrorIsListed(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		data string
		want []string
	}{
		"valid":             {valid, nil},
		"not JSON":          {`{"name`, []string{""}},
		"not an object":     {`[1]`, []string{""}},
		"null":              {`null`, []string{""}},
		"nothing in it":     {`{}`, []string{"/name", "/workflow"}},
		"nulls":             {`{"name":null,"workflow":null}`, []string{"/name", "/workflow"}},
		"all of it wrong":   {`{"campaign_id":"a b","name":7,"workflow":{"inline":{},"yaml":""},"labels":{"a/b":1,"c":"d","e":null},"inptu":1}`, []string{"/inptu", "/campaign_id", "/name", "/workflow", "/labels/a~1b"}},
		"kinds of workflow": {`{"name":" ","workflow":{"inline":"x"},"labels":[]}`, []string{"/name", "/workflow/inline", "/labels"}},
		"a workflow's text": {`{"name":"x","workflow":{"yaml":{}}}`, []string{"/workflow/yaml"}},
		"a bare workflow":   {`{"name":"x","workflow":"x","campaign_id":1}`, []string{"/campaign_id", "/workflow"}},
		"a long name":       {`{"name":"` + strings.Repeat("x", 201) + `","workflow":{"yaml":"x"}}`, []string{"/name"}},
	} {
		_, problems := ReadStart([]byte(test.data), "m1")
		if got := pointers(problems); !slices.Equal(got, test.want) {
			t.Errorf("%s: got problems %+v, want at %q", name, problems, test.want)
		}
	}
}

func TestTheIDIsTheMessagesUnlessGiven(t *testing.T) {
	t.Parallel()
	if s, problems := ReadStart([]byte(valid), "m1"); s.ID != "m1" || problems != nil {
		t.Errorf("got %q, %v", s.ID, problems)
	}
	if s, problems := ReadStart([]byte(`{"campaign_id":"c-1",`+valid[1:]), "m/1"); s.ID != "c-1" || problems != nil {
		t.Errorf("got %q, %v", s.ID, problems)
	}
	if _, problems := ReadStart([]byte(valid), "cm:events/1-0/1"); !slices.Equal(pointers(problems), []string{"/campaign_id"}) {
		t.Errorf("an id that no campaign may have: %v", problems)
	}
}

func TestTheHashIsOfTheContent(t *testing.T) {
	t.Parallel()
	hash := func(data string) string {
		s, problems := ReadStart([]byte(data), "m1")
		if problems != nil {
			t.Fatal(problems)
		}
		return s.Hash
	}
	same := hash(valid)
	for _, data := range []string{
		`{"campaign_id":"other",` + valid[1:],
		` {"labels":{"x":"y"}, "input":{"b":[1.0,2],"a":1}, "workflow":{"yaml":"document: {}"}, "name":"n"} `,
	} {
		if hash(data) != same {
			t.Errorf("%s: another hash", data)
		}
	}
	for _, change := range [][2]string{{`"name":"n"`, `"name":"m"`}, {`document`, `documents`}, {`"a":1`, `"a":2`}, {`"a":1`, `"a":12345678901234567890`}, {`"y"`, `"z"`}} {
		if hash(strings.Replace(valid, change[0], change[1], 1)) == same {
			t.Errorf("%s: the same hash", change)
		}
	}
	if hash(strings.Replace(valid, `"a":1`, `"a":12345678901234567890`, 1)) == hash(strings.Replace(valid, `"a":1`, `"a":12345678901234567891`, 1)) {
		t.Error("numbers that differ in the last digit have the same hash")
	}
}

func TestOtherCommands(t *testing.T) {
	t.Parallel()
	if c, problems := ReadCancel([]byte(`{"campaign_id":"c","reason":"r"}`)); c != (Cancel{"c", "r"}) || problems != nil {
		t.Errorf("got %+v, %v", c, problems)
	}
	if _, problems := ReadCancel([]byte(`{"reason":1,"x":2}`)); !slices.Equal(pointers(problems), []string{"/x", "/campaign_id", "/reason"}) {
		t.Errorf("got %v", problems)
	}
	if id, problems := ReadStatus([]byte(`{"campaign_id":"c"}`)); id != "c" || problems != nil {
		t.Errorf("got %q, %v", id, problems)
	}
	if _, problems := ReadStatus([]byte(`{}`)); !slices.Equal(pointers(problems), []string{"/campaign_id"}) {
		t.Errorf("got %v", problems)
	}
}
