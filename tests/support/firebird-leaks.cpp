// Made once a process and never freed by libraries beneath Firebird: LeakSanitizer counts them in a sanitized build.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:iconv_open\nleak:mp_init\nleak:libicuuc\n"; }
