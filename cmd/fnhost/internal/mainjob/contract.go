package mainjob

import "encoding/json"

// The parts of the contracts of rag and persist that the job uses; the plugins
// are programs of their own, known by their messages only.

type ingest struct {
	Collection string `json:"collection"`
	DocID      string `json:"doc_id"`
	Title      string `json:"title"`
	Text       string `json:"text"`
	MediaType  string `json:"media_type"`
}

type ingested struct {
	Changed bool `json:"changed"`
	Chunks  int  `json:"chunks"`
}

type query struct {
	QueryID    string `json:"query_id"`
	Collection string `json:"collection"`
	Query      string `json:"query"`
	TopK       int    `json:"top_k"`
	Answer     string `json:"answer"`
}

type answered struct {
	Hits []struct {
		DocID   string  `json:"doc_id"`
		ChunkID string  `json:"chunk_id"`
		Score   float64 `json:"score"`
		Title   string  `json:"title"`
		Section string  `json:"section"`
	} `json:"hits"`
	Answer *struct {
		Text      string `json:"text"`
		Citations []struct {
			DocID   string `json:"doc_id"`
			ChunkID string `json:"chunk_id"`
		} `json:"citations"`
	} `json:"answer"`
}

type write struct {
	Collection string   `json:"collection"`
	Mode       string   `json:"mode"`
	Records    []record `json:"records"`
}

type record struct {
	Key string `json:"key"`
	Doc any    `json:"doc"`
}

type written struct {
	Inserted  int `json:"inserted"`
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	Errors    []struct {
		Key     string `json:"key"`
		Message string `json:"message"`
	} `json:"errors"`
}

type get struct {
	Collection string   `json:"collection"`
	Keys       []string `json:"keys"`
}

type got struct {
	Records []struct {
		Key string          `json:"key"`
		Doc json.RawMessage `json:"doc"`
	} `json:"records"`
	Missing []string `json:"missing"`
}
