// Before anything is drawn: the theme that was chosen, if one was.
"use strict";
{
  const chosen = localStorage.getItem("cairn.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
