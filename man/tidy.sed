# SPDX-License-Identifier: Apache-2.0
# What rst2man writes and mandoc finds untidy, or other pages do not have: a paragraph right behind a heading, titles in
# lower case, a font of old troffs.
:again
s/^\.SH Name$/.SH NAME/
/^\.S[HS] / {
	n
	/^\.sp$/ d
	b again
}
s/^\.TH "\{0,1\}\([^" ]*\)"\{0,1\} /.TH "\U\1" /
s/^\.ft C$/.ft CW/
