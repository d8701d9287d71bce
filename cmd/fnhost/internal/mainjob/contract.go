package mainjob

import "encoding/json"

// What the workflow takes and gives, and the part of the contract of persist
// that the job uses itself; plugins are known by their messages only.

type input struct {
	Documents []document `json:"documents"`
	Questions []question `json:"questions"`
}

type document struct {
	ID    string `json:"doc_id"`
	Title string `json:"title"`
	Text  string `json:"text"`
	Media string `json:"media_type"`
}

type question struct {
	Key  string `json:"key"`
	Kind string `json:"kind"`
	Text string `json:"text"`
}

type output struct {
	Ingested []struct {
		Changed bool `json:"changed"`
		Chunks  int  `json:"chunks"`
	} `json:"ingested"`
	Kept []struct {
		Record record `json:"record"`
		Fresh  int    `json:"fresh"` // 1 if it was not there, or differed
	} `json:"kept"`
}

type record struct {
	Key string `json:"key"`
	Doc Answer `json:"doc"`
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
}
