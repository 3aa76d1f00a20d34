#pragma once
// `syncropy-agent enroll` and `syncropy-agent renew`.

namespace syncropy {

// Both parse their own command line, argv[0] being the verb, and return the status to end with.
int enroll_agent(int argc, char** argv);
int renew_agent_certificate(int argc, char** argv);

}  // namespace syncropy
