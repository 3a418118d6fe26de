(* SPDX-License-Identifier: Apache-2.0 *)
(* A Boot Loader Specification entry, as lines: a key with its value, whole, blanks at its end included; every other
   line is kept as it is, comments, blank lines and keys without a value too. Small expressions, since a host may have
   a thousand entries: a lens that names `options` alone, with all other lines as their complement, takes twice as long. *)
module Bls =

let key_char   = /[A-Za-z0-9_-]/
let other_char = /[^A-Za-z0-9_ \t\n-]/
let value      = /[^ \t\n][^\n]*/

let pair  = [ del /[ \t]*/ "" . key key_char+ . del /[ \t]+/ " " . store value . del "\n" "\n" ]

let other = /[ \t]*/ . (key_char+ . /[ \t]*/ | key_char* . other_char . /[^\n]*/)?
let line  = [ label "#line" . store other . del "\n" "\n" ]

let lns   = (pair|line)*
