package answer_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fnhost/fnhost/plugins/rag/internal/answer"
)

var weights = map[string]float64{"channel": 2, "close": 2, "receive": 1, "is": 0.01}

func TestExtractCitesTheSourcesOfItsSentences(t *testing.T) {
	a := answer.Extract(weights, []answer.Source{
		{Text: "Close\n\nMaps are not of interest here. Closing a channel wakes all receivers. Other words follow then.", Score: 4},
		{Text: "There is nothing in this text.", Score: 3},
		{Text: "A closed channel\nis ready to receive from.", Score: 2},
	})
	want := "Closing a channel wakes all receivers. [1]"
	if !strings.HasPrefix(a.Text, want) || !strings.Contains(a.Text, "A closed channel is ready to receive from. [") {
		t.Errorf("answer %q", a.Text)
	}
	if strings.Contains(a.Text, "Maps") || strings.HasPrefix(a.Text, "Close ") {
		t.Errorf("answer %q has a sentence that says nothing of the query, or a heading", a.Text)
	}
	if !slices.Contains(a.Sources, 0) || !slices.Contains(a.Sources, 2) {
		t.Errorf("sources %v, want 0 and 2 among them", a.Sources)
	}
}

func TestExtractPrefersWhatIsNotYetSaid(t *testing.T) {
	a := answer.Extract(map[string]float64{"red": 3, "blue": 2}, []answer.Source{
		{Text: "The car is red today. The car stays red now. The sky is blue today. Grass has another colour.", Score: 1},
	})
	for _, want := range []string{"The car is red today. [1]", "The sky is blue today. [1]"} {
		if !strings.Contains(a.Text, want) {
			t.Errorf("answer %q, want %q in it", a.Text, want)
		}
	}
}

func TestExtractSaysEachSentenceOnce(t *testing.T) {
	same := answer.Source{Text: "A channel may be closed.", Score: 1}
	a := answer.Extract(weights, []answer.Source{same, same})
	if a.Text != "A channel may be closed. [1]" || !slices.Equal(a.Sources, []int{0}) {
		t.Errorf("answer %q from %v", a.Text, a.Sources)
	}
}

func TestExtractCutsLongSentences(t *testing.T) {
	a := answer.Extract(weights, []answer.Source{{Text: "channel" + strings.Repeat(" word", 200), Score: 1}})
	if words := len(strings.Fields(a.Text)); words > 90 || !strings.Contains(a.Text, "…") {
		t.Errorf("an answer of %d words: %q", words, a.Text)
	}
}

func TestExtractOfNothing(t *testing.T) {
	if a := answer.Extract(weights, nil); a.Text != "" || a.Sources != nil {
		t.Errorf("answer %+v, want none", a)
	}
}

func TestWeightFallsWithFrequency(t *testing.T) {
	if rare, common := answer.Weight(1, 100), answer.Weight(99, 100); rare <= common || common <= 0 {
		t.Errorf("weights %v of a rare term and %v of a common one", rare, common)
	}
}
