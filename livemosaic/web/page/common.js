"use strict";

const token = new URLSearchParams(location.search).get("token") ?? "";
const authorization = { Authorization: `Bearer ${token}` };
const RETRY_MS = 2000; // until the next try without a connection
const ANSWER_MS = 10000; // to wait for an answer
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function svg(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
