(* SPDX-License-Identifier: Apache-2.0 *)
(* A Boot Loader Specification entry, as lines: the value of an `options` line is a node, whole, blanks at its end
   included; every other line is kept as it is, comments, blank lines and an `options` line without a value too. *)
module Bls =

let key_part = /[ \t]*options[ \t]+/
let value    = /[^ \t\n][^\n]*/

let options  = [ del /[ \t]*/ "" . key "options" . del /[ \t]+/ " " . store value . del "\n" "\n" ]

let other    = /[^\n]*/ - (key_part . value)
let line     = [ label "line" . store other . del "\n" "\n" ]

let lns      = (options|line)*
