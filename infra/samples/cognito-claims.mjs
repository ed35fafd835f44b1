// A sample of Cognito's pre token generation trigger, event version V2_0 (Node.js, no dependencies): it gives tokens the two claims that
// session-authorizer asks for. Who may speak, and in which session, is your application's to say. Here it has said so before the user signs
// in: the session stands in the user's attribute custom:sessionId, which only the application may write (leave it out of the app client's
// write attributes!), and speakers are in the group "speakers".
export const handler = async (event) => {
  const sessionId = event.request.userAttributes["custom:sessionId"];
  const groups = event.request.groupConfiguration?.groupsToOverride ?? [];
  if (sessionId) {
    const claims = { claimsToAddOrOverride: { sessionId, role: groups.includes("speakers") ? "speaker" : "listener" } };
    event.response.claimsAndScopeOverrideDetails = { idTokenGeneration: claims, accessTokenGeneration: claims };
  }
  return event; // without a session: no claims, and session-authorizer denies the token
};
